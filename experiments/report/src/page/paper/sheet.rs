//! A table of numbers with their errors, as CSV, Markdown and LaTeX.

use std::fmt::Write;

use anyhow::{Context, Result};

use crate::page::format;
use crate::page::value::Value;

/// A table with a row for each flow.
#[derive(Debug)]
pub(super) struct Sheet {
    /// Name of its files.
    pub(super) name: String,
    pub(super) caption: String,
    /// Head of the words beside each flow.
    pub(super) about: &'static str,
    /// What the errors are.
    pub(super) error: &'static str,
    /// Heads of the columns of numbers.
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

impl Default for Sheet {
    /// An empty one of flows with their families and standard errors.
    fn default() -> Self {
        Self {
            name: String::new(),
            caption: String::new(),
            about: "family",
            error: "standard error",
            columns: Vec::new(),
            rows: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    /// Words on the flow, such as its family.
    pub(super) about: String,
    pub(super) cells: Vec<Option<Cell>>,
}

#[derive(Debug)]
pub(super) struct Cell {
    pub(super) value: Value,
    /// Whether it is set in bold.
    pub(super) best: bool,
    /// Such as `0.123 ± 0.004`.
    pub(super) words: String,
}

impl Cell {
    /// With `text` for the value where its error is zero or not known.
    pub(super) fn new(value: Value, best: bool, text: fn(f64) -> String) -> Self {
        let words = match value.error {
            Some(error) if error > 0.0 => format::estimate(value),
            _ => text(value.value),
        };
        Self { value, best, words }
    }
}

impl Sheet {
    /// All digits; an error beside each value.
    pub(super) fn csv(&self) -> Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let heads = self
            .columns
            .iter()
            .flat_map(|column| [column.clone(), format!("{column}, {}", self.error)]);
        writer.write_record(["flow", self.about].map(String::from).into_iter().chain(heads))?;
        for Row { name, about, cells } in &self.rows {
            let numbers = cells.iter().flat_map(|cell| {
                let value = cell.as_ref().map(|cell| cell.value);
                let error = value.and_then(|value| value.error).filter(|error| *error > 0.0);
                [value.map(|value| value.value), error]
                    .map(|number| number.map_or_else(String::new, |number| number.to_string()))
            });
            writer.write_record([name.clone(), about.clone()].into_iter().chain(numbers))?;
        }
        let bytes = writer.into_inner().context("writing CSV")?;
        String::from_utf8(bytes).context("writing CSV")
    }

    /// With its caption above it.
    pub(super) fn markdown(&self) -> String {
        let escaped = |text: &str| text.replace('|', "\\|");
        let heads: String =
            self.columns.iter().map(|column| format!(" {} |", escaped(column))).collect();
        let rule = "---:|".repeat(self.columns.len());
        let (caption, about) = (&self.caption, capitalised(self.about));
        let mut text = format!("{caption}\n\n| Flow | {about} |{heads}\n|---|---|{rule}\n");
        for Row { name, about, cells } in &self.rows {
            let cells: String = cells
                .iter()
                .map(|cell| match cell {
                    Some(cell) if cell.best => format!(" **{}** |", cell.words),
                    Some(cell) => format!(" {} |", cell.words),
                    None => format!(" {} |", format::UNKNOWN),
                })
                .collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {} | {about} |{cells}", escaped(name));
        }
        text
    }

    /// A `table` for booktabs and siunitx, whose preamble its first lines name.
    pub(super) fn latex(&self) -> String {
        let aligned: String = (0..self.columns.len()).map(|index| self.alignment(index)).collect();
        let heads: String =
            self.columns.iter().map(|column| format!(" & {{{}}}", latex_words(column))).collect();
        let mut text = format!(
            "% \\usepackage{{booktabs, siunitx, etoolbox}}\n\
             % \\sisetup{{separate-uncertainty, detect-weight, mode = text}} \\robustify\\bfseries\n\
             \\begin{{table}}\n\\centering\n\\caption{{{}}}\n\\label{{tab:{}}}\n\
             \\begin{{tabular}}{{l{aligned}}}\n\\toprule\nFlow{heads} \\\\\n\\midrule\n",
            latex_words(&self.caption),
            self.name,
        );
        for Row { name, cells, .. } in &self.rows {
            let cells: String = cells
                .iter()
                .map(|cell| match cell {
                    Some(cell) if cell.best => format!(" & \\bfseries {}", latex_number(cell)),
                    Some(cell) => format!(" & {}", latex_number(cell)),
                    None => " & {--}".into(),
                })
                .collect();
            let _ = writeln!(text, "{}{cells} \\\\", latex_words(name));
        }
        text + "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    }

    /// A column of siunitx with as many digits as its longest numbers have.
    fn alignment(&self, column: usize) -> String {
        let cells = self.rows.iter().filter_map(|row| row.cells.get(column)?.as_ref());
        let (mut sign, mut whole, mut decimals, mut error, mut power) = ("", 1, 0, 0, ("", 0));
        for text in cells.map(latex_number) {
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, ""));
            let (value, uncertainty) = mantissa.split_once(" +- ").unwrap_or((mantissa, ""));
            let (before, after) = value.split_once('.').unwrap_or((value, ""));
            sign = if value.starts_with('-') { "-" } else { sign };
            whole = whole.max(before.trim_start_matches('-').len());
            decimals = decimals.max(after.len());
            let digits = uncertainty.trim_start_matches(['0', '.']);
            error = error.max(digits.chars().filter(char::is_ascii_digit).count());
            power.0 = if exponent.starts_with('-') { "-" } else { power.0 };
            power.1 = power.1.max(exponent.trim_start_matches('-').len());
        }
        let error = if error > 0 { format!("({error})") } else { String::new() };
        let power = if power.1 > 0 { format!("e{}{}", power.0, power.1) } else { String::new() };
        format!("\n  S[table-format = {sign}{whole}.{decimals}{error}{power}]")
    }
}

/// A number as siunitx reads it.
fn latex_number(cell: &Cell) -> String {
    let mut text = String::new();
    for letter in cell.words.replace(" ± ", " +- ").replace("×10", "e").chars() {
        match letter {
            '\u{2212}' | '⁻' => text.push('-'),
            '\u{202f}' => {}
            '¹' => text.push('1'),
            '²' => text.push('2'),
            '³' => text.push('3'),
            '⁰' | '⁴'..='⁹' => {
                let digit = u32::from(letter) - 0x2070;
                text.extend(char::from_digit(digit, 10));
            }
            letter => text.push(letter),
        }
    }
    // A power of ten without a factor.
    match text.strip_prefix("10") {
        Some(power) if cell.words.starts_with("10") && is_power(&cell.words) => {
            format!("1e{power}")
        }
        _ => text,
    }
}

/// Whether a text is 10 with an exponent.
fn is_power(text: &str) -> bool {
    text.chars().nth(2).is_some_and(|letter| "⁻⁰¹²³⁴⁵⁶⁷⁸⁹".contains(letter))
}

/// With its first letter large.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Text with what LaTeX reads as commands escaped.
fn latex_words(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => escaped.extend(['\\', letter]),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '\\' => escaped.push_str("\\textbackslash{}"),
            '±' => escaped.push_str("$\\pm$"),
            '²' => escaped.push_str("\\textsuperscript{2}"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let cell =
            |value, error, best| Some(Cell::new(Value { value, error }, best, format::number));
        let row = |name: &str, family: &str, cells| Row {
            name: name.into(),
            about: family.into(),
            cells,
        };
        Sheet {
            name: "results".into(),
            caption: "5 % of all".into(),
            columns: vec!["a_b, nats".into(), "Error".into()],
            rows: vec![
                row(
                    "Real NVP",
                    "finite",
                    vec![cell(-0.12345, Some(0.0021), true), cell(3e-7, Some(0.0), false)],
                ),
                row("RNODE", "continuous", vec![cell(12.5, Some(0.13), false), None]),
            ],
            ..Sheet::default()
        }
    }

    #[test]
    fn csv_has_all_digits_and_errors_of_their_own() {
        assert_eq!(
            sheet().csv().unwrap(),
            "flow,family,\"a_b, nats\",\"a_b, nats, standard error\",Error,\"Error, standard error\"\n\
             Real NVP,finite,-0.12345,0.0021,0.0000003,\n\
             RNODE,continuous,12.5,0.13,,\n"
        );
    }

    #[test]
    fn markdown_has_the_best_in_bold() {
        assert_eq!(
            sheet().markdown(),
            "5 % of all\n\n| Flow | Family | a_b, nats | Error |\n|---|---|---:|---:|\n\
             | Real NVP | finite | **\u{2212}0.123 ± 0.002** | 3×10⁻⁷ |\n\
             | RNODE | continuous | 12.50 ± 0.13 | – |\n"
        );
    }

    #[test]
    fn latex_has_columns_of_siunitx_that_fit() {
        let text = sheet().latex();
        let expected = [
            "\\caption{5 \\% of all}",
            "\\begin{tabular}{l\n  S[table-format = -2.3(2)]\n  S[table-format = 1.0e-1]}",
            "Flow & {a\\_b, nats} & {Error} \\\\",
            "Real NVP & \\bfseries -0.123 +- 0.002 & 3e-7 \\\\",
            "RNODE & 12.50 +- 0.13 & {--} \\\\",
        ];
        for line in expected {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn a_power_of_ten_alone_has_a_factor() {
        let cell = |value, text| Cell::new(Value { value, error: Some(0.0) }, false, text);
        assert_eq!(latex_number(&cell(1e-5, format::small)), "1e-5");
        assert_eq!(latex_number(&cell(1.5e-12, format::small)), "1.5e-12");
        assert_eq!(latex_number(&cell(104_000.0, format::count)), "104000");
    }
}
