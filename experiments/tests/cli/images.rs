//! Runs on images: what is kept to look at, and the page that shows it.

use flows_bench::table::{self, Table, digits};
use flows_core::{normals, stream};

use crate::{Place, assert_says};

const SMALL: &str = "--set flow.depth=1 --set flow.hidden=4 --steps 3";

#[test]
fn a_run_on_digits_keeps_nearest_images_and_interpolations() {
    let place = Place::new();
    place.succeeds(&format!("fit --problem digits --flow glow-image {SMALL} --out run"));
    let nearest = place.table("run/nearest.npy");
    assert_eq!([nearest.rows(), nearest.columns()], [40, 64]);
    // Every one is a digit, and no other digit is nearer to the draw.
    let (draws, digits) = (place.table("run/samples.npy"), digits().unwrap().table);
    let distance =
        |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum() };
    for row in 0..40 {
        let (draw, nearest) = (draws.row(row), nearest.row(row));
        assert!((0..digits.rows()).any(|digit| digits.row(digit) == nearest));
        // Held-out digits are no training images.
        let nearer = (0..digits.rows())
            .filter(|digit| digit % 10 > 1)
            .filter(|&digit| distance(draw, digits.row(digit)) < distance(draw, nearest));
        assert_eq!(nearer.count(), 0, "row {row}");
    }
    // Each line of nine goes from one of the first held-out images to one of the next.
    let (lines, held_out) =
        (place.table("run/interpolations.npy"), place.table("run/data_samples.npy"));
    assert_eq!([lines.rows(), lines.columns()], [4 * 9, 64]);
    for (line, end, image) in (0..4).flat_map(|l| [(l, 0, l), (l, 8, l + 4)]) {
        let far = distance(lines.row(9 * line + end), held_out.row(image)).sqrt();
        assert!(far < 1e-3, "line {line}, image {end}: {far}");
    }
    let page = place.text("run/report.html");
    assert_says(&page, &["nearest training images", "from one test image to another"]);
    for figure in
        ["run-data-images", "run-flow-images", "run-flow-nearest", "run-flow-interpolations"]
    {
        assert!(place.path(&format!("run/figures/{figure}.pdf")).exists(), "{figure}");
    }
}

#[test]
fn a_table_of_pixels_is_shown_as_the_images_that_its_config_says() {
    let place = Place::new();
    let values = normals(200 * 16, &mut stream(1, "pixels"));
    table::write(&place.path("t.csv"), &Table::new(Vec::new(), 16, values).unwrap()).unwrap();
    let size = |height: usize| {
        format!(
            "--set data.image={{channels=1,height={height},width=4}} \
             --set flow.shape={{channels=1,height=4,width=4}}"
        )
    };
    let fit = format!("fit --data t.csv --flow glow-image {SMALL}");
    place.succeeds(&format!("{fit} {} --out run", size(4)));
    assert_eq!(place.table("run/nearest.npy").columns(), 16);
    let refused = place.fails(2, &format!("{fit} {} --out other", size(3)));
    assert_says(
        &refused,
        &[
            "t.csv: data.image: expected 16 pixels, one a feature, got 1 x 3 x 4; choose the columns",
        ],
    );
}
