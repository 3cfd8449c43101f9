//! Situations that users of other programs reported in public, each with its right value: order and
//! units of columns, data without a density, supports, sizes, inverses, contexts, files.
//!
//! What other tests hold already:
//!
//! | situation | test |
//! |---|---|
//! | 2. row numbers as a column | `counters_of_rows_are_named` (flows-bench) and `what_a_table_shows_is_told` |
//! | 3. a header of numbers | `a_header_of_numbers_is_told_from_a_row` (flows-bench), and the same |
//! | 4. log-densities in the data's units | `trained_run::a_fitted_gaussian_has_its_density..` |
//! | 16. columns that determine each other | `columns_that_others_determine_are_named` (flows-bench) |
//! | 21. one test row | `fit::the_error_of_one_test_row_is_unknown` |
//! | 26. a box as base | `a_box_has_the_density_of_its_volume_in_any_dimension` (flows-core) |
//! | 36. there and back | `trained_run::a_fitted_gaussian..`, `round_trips_return_within_ten_tolerances` (flows-continuous) |
//! | 39. threads | `fit::the_same_steps_give_the_same_model_on_one_thread_and_on_two` |
//! | 42. draws under contexts | `draws_have_the_density_of_their_own_context` (flows-finite) |
//! | 44. a context that never varies | `conditional::contexts_that_do_not_fit_are_named` |
//! | 45. arrays | `arrays_of_other_types_and_orders_are_read`, `arrays_of_the_wrong_shape_or_type`, `the_array_of_an_archive_is_named_where_there_are_others` (flows-bench) |
//! | 46, 47. dialects of CSV | the file `table_dialects` and `malformed_csv` (flows-bench) |
//! | 48. members of gzip files | `gzip_members_and_zeros_behind_them_are_read` (flows-bench) |
//! | 54. a lost mode | `a_lost_mode_is_marked_however_large_the_effective_sample_size` (report) |
//! | 56. fewer draws | `fewer_draws_are_the_first_of_more` (flows-core), `trained_run::a_fitted_gaussian..` |

mod conditional;
mod data;
mod files;
mod inverse;
mod numbers;
mod size;
mod supports;

use std::f64::consts::TAU;

use flows_bench::table::{self, Table};
use flows_core::{normals, stream};

use crate::{Place, succeeded};

/// Standard normal draws that a row is made of.
const DRAWS: usize = 4;

/// So many rows.
struct Rows(usize);

impl Rows {
    /// Writes a table whose rows are made of their number and [`DRAWS`] draws; another name has others.
    fn write<const D: usize>(
        &self,
        place: &Place,
        name: &str,
        columns: &[&str; D],
        row: impl Fn(usize, &[f64]) -> [f64; D],
    ) -> Table {
        let draws: Vec<f64> = normals(self.0 * DRAWS, &mut stream(11, name));
        let values = draws.chunks_exact(DRAWS).enumerate().flat_map(|(i, z)| row(i, z)).collect();
        let names = columns.iter().map(ToString::to_string).collect();
        let table = Table::new(names, D, values).unwrap();
        table::write(&place.path(name), &table).unwrap();
        table
    }
}

/// Writes a config of a preset with networks so small that hundreds of steps take a second; `more` are
/// settings of the top level.
fn small(place: &Place, name: &str, preset: &str, more: &str) {
    let flow = match preset {
        "ffjord" => "field = { kind = \"perceptron\", hidden = [16, 16] }\n",
        _ => "layers = 3\nconditioner = { kind = \"perceptron\", hidden = [32, 32] }\n",
    };
    place.write(name, format!("preset = \"{preset}\"\n{more}[flow]\n{flow}"));
}

/// What is told on standard error by a command that succeeds.
fn told(place: &Place, line: &str) -> String {
    let output = place.command(line).output().unwrap();
    succeeded(&output, line);
    String::from_utf8(output.stderr).unwrap()
}

/// Mean negative log-likelihood of a run's test rows, with its standard error.
fn nll(place: &Place, run: &str) -> [f64; 2] {
    let summary = place.json(&format!("{run}/summary.json"));
    ["nll_nats", "nll_standard_error"].map(|name| summary[name].as_f64().unwrap())
}

/// log N(x; mean, scale^2)
fn exact_normal(x: f64, mean: f64, scale: f64) -> f64 {
    -0.5 * ((x - mean) / scale).powi(2) - scale.ln() - 0.5 * TAU.ln()
}

/// Mean of `truth` less the run's log-density over the rows of a file, which is the divergence of the run
/// from the truth where these are draws of it, and its standard error.
fn excess(place: &Place, run: &str, file: &str, truth: impl Fn(&[f64]) -> f64) -> [f64; 2] {
    place.succeeds(&format!("log-prob {run} --data {file} --out {run}-excess.npy"));
    let (rows, scored) = (place.table(file), place.table(&format!("{run}-excess.npy")));
    let differences: Vec<f64> =
        (0..rows.rows()).map(|row| truth(rows.row(row)) - scored.row(row)[0]).collect();
    mean_and_error(&differences)
}

fn mean_and_error(values: &[f64]) -> [f64; 2] {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
    [mean, (variance / count).sqrt()]
}
