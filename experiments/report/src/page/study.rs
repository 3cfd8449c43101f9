//! The page of a study: for each claim what the review says, what was measured and what came out.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flows_core::train::write_atomically;

use super::figures::Figures;
use super::table::scrolling;
use super::value::Value;
use super::{date, format, guide, page};
use crate::figure::{self, Figure, Frame, escape};
use crate::finding::{Cell, Content, Criterion, Findings, Measure, Panel, Panels, Table};
use crate::record::Matrix;
use crate::study::{Outcome, Section, Study};

/// Images beside each other in a panel.
const ACROSS: usize = 5;

/// Writes the page of the study in `dir`.
///
/// # Errors
/// When `study.json` cannot be read or a file cannot be written.
pub(crate) fn write(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("study.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: cannot be read", path.display()))?;
    let study: Study = serde_json::from_str(&text)
        .with_context(|| format!("{}: damaged or of another version", path.display()))?;
    let mut figures = Figures::create(dir)?;
    let html = render(&study, &mut figures)?;
    figures.write_list()?;
    let path = dir.join("report.html");
    write_atomically(&path, html.as_bytes())
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

fn render(study: &Study, figures: &mut Figures) -> Result<String> {
    let title = escape(&study.title);
    let sections: String =
        study.sections.iter().map(|s| section(study, s, figures)).collect::<Result<_>>()?;
    let main = format!("<main>\n{}{sections}</main>\n", overview(study));
    Ok(page(&title, "overview", &introduction(study), &main))
}

fn introduction(study: &Study) -> String {
    let seconds = study.sections.iter().map(|section| section.seconds).sum();
    format!(
        "<p>Measured {} on {} ({} cores), {}, seed {}, in {}, with version {} of the program. \
         Every number on this page comes from <code>study.json</code> beside it; criteria are \
         derived from rounding, orders of convergence or standard errors, as each says.</p>\n\
         <pre tabindex=\"0\"><code>{}</code></pre>\n",
        escape(&date::started(&study.started)),
        escape(&study.host.cpu),
        study.host.cores,
        guide::threads(study.threads),
        study.seed,
        date::duration(seconds),
        escape(&study.version),
        escape(&study.command),
    )
}

fn overview(study: &Study) -> String {
    let row = |section: &Section| {
        format!(
            "<tr><th scope=\"row\"><a href=\"#{0}\">{0}</a></th><td class=\"words\">{1}</td><td>{2}</td>\
             <td class=\"number\" data-value=\"{3}\">{3:.1}</td></tr>\n",
            escape(&section.id),
            escape(&section.title),
            verdict(section),
            section.seconds,
        )
    };
    let rows: String = study.sections.iter().map(row).collect();
    let counts = ["pass", "fail", "error", "not built"]
        .map(|verdict| (study.count(verdict), verdict))
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, verdict)| format!("{count} {verdict}"));
    let caption = format!("{}.", counts.collect::<Vec<_>>().join(", "));
    let table = format!(
        "<table class=\"sortable\" aria-labelledby=\"overview-table\">\n<thead><tr>\
         <th scope=\"col\">Part</th><th scope=\"col\">Subject</th><th scope=\"col\">Verdict</th>\
         <th scope=\"col\">Seconds</th></tr></thead>\n<tbody>\n{rows}</tbody></table>"
    );
    format!(
        "<section id=\"overview\" aria-labelledby=\"overview-title\">\n\
         <h2 id=\"overview-title\">Overview</h2>\n{}</section>\n",
        scrolling("overview-table", &caption, &table)
    )
}

fn verdict(section: &Section) -> String {
    let word = section.outcome.verdict();
    let class = if word == "pass" { "mark best" } else { "mark" };
    format!("<span class=\"{class}\">{word}</span>")
}

fn section(study: &Study, section: &Section, figures: &mut Figures) -> Result<String> {
    let id = escape(&section.id);
    let body = match &section.outcome {
        Outcome::Failed(reason) => {
            format!("<p class=\"missing\">It could not be measured: {}.</p>\n", escape(reason))
        }
        Outcome::NotBuilt(reason) => {
            format!("<p class=\"missing\">Not built yet: {}</p>\n", escape(reason))
        }
        Outcome::Found(findings) => found(&section.id, findings, figures)
            .with_context(|| format!("the section {}", section.id))?,
    };
    let repeat = match section.outcome {
        Outcome::NotBuilt(_) => String::new(),
        _ => format!(
            "<details><summary>Command and seed of this section</summary>\n\
             <pre tabindex=\"0\"><code>{}</code></pre></details>\n",
            escape(&command(study, section))
        ),
    };
    Ok(format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{id}: {} {}</h2>\n\
         <p>{}</p>\n<p><em>Measured:</em> {}</p>\n{body}{repeat}</section>\n",
        escape(&section.title),
        verdict(section),
        escape(&section.review),
        escape(&section.method),
    ))
}

/// What repeats one section: a claim alone, else the whole command.
fn command(study: &Study, section: &Section) -> String {
    let numbered = section.id.strip_prefix('C').is_some_and(|n| n.parse::<u32>().is_ok());
    if !numbered {
        return study.command.clone();
    }
    let quick = if study.command.contains(" --quick") { " --quick" } else { "" };
    let (id, seed) = (&section.id, study.seed);
    format!("cargo run --release -p experiments -- verify {id} --seed {seed}{quick}")
}

fn found(id: &str, findings: &Findings, figures: &mut Figures) -> Result<String> {
    let mut html = measures(id, &findings.measures);
    for remark in &findings.remarks {
        html += &format!("<p>{}</p>\n", escape(remark));
    }
    for (index, table) in findings.tables.iter().enumerate() {
        html += &tabulated(&format!("{id}-table-{}", index + 1), table);
    }
    for (index, plot) in findings.plots.iter().enumerate() {
        let name = format!("{id}-plot-{}", index + 1);
        let element = figures.add_chart(&name, |width| figure::plot::draw(plot, width))?;
        let caption = escape(&plot.title);
        html += &format!(
            "<figure class=\"chart single\"><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
             aria-label=\"{caption}\">{element}</div><figcaption>{caption}</figcaption></figure>\n"
        );
    }
    for (index, panels) in findings.panels.iter().enumerate() {
        html += &row_of_panels(&format!("{id}-panel-{}", index + 1), panels, figures)?;
    }
    for (index, corner) in findings.corners.iter().enumerate() {
        let element =
            figures.add(&format!("{id}-corner-{}", index + 1), &figure::corner::draw(corner)?)?;
        let caption = escape(&corner.title);
        // Cells of one size, however many there are.
        let width = 10 * corner.names.len() + 6;
        html += &format!(
            "<figure class=\"card\" style=\"max-width: {width}rem\">{element}<figcaption>{caption}\
             </figcaption></figure>\n"
        );
    }
    Ok(html)
}

fn measures(id: &str, measures: &[Measure]) -> String {
    if measures.is_empty() {
        return String::new();
    }
    let row = |measure: &Measure| {
        let holds = measure.criterion.holds(measure.value);
        let mark = match (measure.criterion, holds) {
            (Criterion::Observed, _) => String::new(),
            (_, true) => "<span class=\"mark best\">holds</span>".into(),
            (_, false) => "<span class=\"mark\">fails</span>".into(),
        };
        let estimate = Value { value: measure.value, error: measure.standard_error.or(Some(0.0)) };
        format!(
            "<tr><th scope=\"row\">{}</th><td class=\"number\" data-value=\"{}\">{}</td><td>{}</td>\
             <td>{mark}</td><td class=\"words\">{}</td></tr>\n",
            escape(&measure.quantity),
            measure.value,
            format::estimate(estimate),
            criterion(measure.criterion),
            escape(&measure.reason),
        )
    };
    let rows: String = measures.iter().map(row).collect();
    let table = format!(
        "<table class=\"sortable\" aria-labelledby=\"{id}-measures\">\n<thead><tr>\
         <th scope=\"col\">Quantity</th><th scope=\"col\">Measured</th><th scope=\"col\">Criterion</th>\
         <th scope=\"col\">Verdict</th><th scope=\"col\">Where the criterion comes from</th></tr></thead>\n\
         <tbody>\n{rows}</tbody></table>"
    );
    let caption = format!("{}: what was demanded. ± is a standard error.", escape(id));
    scrolling(&format!("{id}-measures"), &caption, &table)
}

fn criterion(criterion: Criterion) -> String {
    match criterion {
        Criterion::AtMost(bound) => format!("≤ {}", format::number(bound)),
        Criterion::AtLeast(bound) => format!("≥ {}", format::number(bound)),
        Criterion::Between(low, high) => {
            format!("{} to {}", format::number(low), format::number(high))
        }
        Criterion::Observed => "none".into(),
    }
}

fn tabulated(id: &str, table: &Table) -> String {
    let heads: String = table
        .columns
        .iter()
        .map(|head| format!("<th scope=\"col\">{}</th>", escape(head)))
        .collect();
    let row =
        |cells: &Vec<Cell>| format!("<tr>{}</tr>\n", cells.iter().map(cell).collect::<String>());
    let rows: String = table.rows.iter().map(row).collect();
    let html = format!(
        "<table class=\"sortable\" aria-labelledby=\"{id}\">\n<thead><tr>{heads}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table>"
    );
    scrolling(id, &escape(&table.title), &html)
}

fn cell(cell: &Cell) -> String {
    let number = |value: f64, text: String| {
        format!("<td class=\"number\" data-value=\"{value}\">{text}</td>")
    };
    match cell {
        Cell::Text(text) => format!("<td class=\"words\">{}</td>", escape(text)),
        Cell::Number(value) => number(*value, format::short(*value)),
        Cell::Estimate(value, error) => {
            let estimate = Value { value: *value, error: Some(*error) };
            number(*value, format::estimate(estimate))
        }
    }
}

fn row_of_panels(id: &str, panels: &Panels, figures: &mut Figures) -> Result<String> {
    let frame = Frame::window(panels.window, panels.axes.clone());
    let images = panels.panels.iter().map(|panel| image(&panel.content));
    let images: Vec<Option<Matrix>> = images.collect();
    let maximum = images.iter().flatten().find_map(figure::density::maximum);
    let mut html =
        format!("<div class=\"gallery\" style=\"--columns: {}\">\n", panels.panels.len());
    for (index, (panel, image)) in panels.panels.iter().zip(&images).enumerate() {
        let figure = drawn(&frame, panel, image.as_ref(), maximum)?;
        let element = figures.add(&format!("{id}-{}", index + 1), &figure)?;
        let title = escape(&panel.title);
        html +=
            &format!("<figure class=\"card\"><figcaption>{title}</figcaption>{element}</figure>\n");
    }
    Ok(html + &format!("</div>\n<p class=\"caption\">{}</p>\n", escape(&panels.title)))
}

/// The grid of log-densities of a panel, if it holds one.
fn image(content: &Content) -> Option<Matrix> {
    let Content::LogDensity(values) = content else { return None };
    let side = values.len().isqrt();
    let values = values.iter().map(|v| v.map_or(f64::NAN, f64::from)).collect();
    Some(Matrix { rows: side, columns: side, values })
}

fn drawn(
    frame: &Frame,
    panel: &Panel,
    image: Option<&Matrix>,
    maximum: Option<f64>,
) -> Result<Figure> {
    match (&panel.content, image) {
        (Content::Points(points), _) => {
            let values = points.iter().flatten().map(|&v| f64::from(v)).collect();
            let table = Matrix { rows: points.len(), columns: 2, values };
            let points =
                figure::samples::Points { table: &table, columns: [0, 1], rows: table.rows };
            figure::samples::draw(frame, points, format!("Draws: {}", panel.title))
        }
        (Content::Images(images), _) => {
            let values: Vec<f64> = images.values.iter().map(|&v| f64::from(v)).collect();
            let columns = images.shape.dim();
            let table = Matrix { rows: values.len() / columns, columns, values };
            let (shape, range, most) = (images.shape, images.range, table.rows);
            let mosaic =
                figure::mosaic::Mosaic { table: &table, shape, columns: ACROSS, most, range };
            mosaic.draw(format!("Images: {}", panel.title))
        }
        (_, Some(image)) => {
            let maximum = maximum.context("an image without any density above zero")?;
            figure::density::draw(frame, image, maximum, format!("Density: {}", panel.title))
        }
        (_, None) => anyhow::bail!("the panel {:?} is empty", panel.title),
    }
}
