//! HTML pages: what every page has around its contents.

pub(crate) mod baseline;
mod calibration;
pub(crate) mod comparison;
mod cost;
mod date;
mod differences;
mod distances;
mod figures;
#[cfg(test)]
mod fixture;
mod flow_results;
mod format;
mod gallery;
mod gallery_source;
mod gather;
mod guide;
mod leaders;
mod learning;
mod number;
mod paper;
mod problem;
mod published;
mod ranking;
pub(crate) mod run;
pub(crate) mod study;
mod sweep;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod transport;
mod value;
mod verdict;
mod warnings;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = concat!(include_str!("page/sort.js"), include_str!("page/film.js"));

/// A whole page: `title`, a link over the header to the section `first`, header and sections.
fn page(title: &str, first: &str, header: &str, main: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#{first}\">Skip to the {first}</a>\n\
         <header>\n<h1>{title}</h1>\n{header}</header>\n{main}\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}
