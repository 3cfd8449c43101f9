//! How each flow carries draws from base to data: films that are strips of stills without a script and
//! on paper.

use anyhow::Result;

use super::figures::Figures;
use super::flow_results::FlowResults;
use super::gather::ProblemResults;
use crate::figure::escape;
use crate::figure::transport::{self, Stage};
use crate::record::{Family, Folder, Problem, RunKey};

/// The films of a problem, and what is said about them together.
#[derive(Default)]
struct Films {
    elements: String,
    files: Vec<String>,
    /// Frames of the longest one.
    longest: usize,
}

/// One film for each flow with a finished run in the plane, and one control for all of them.
pub(super) fn section(
    folder: &Folder,
    results: &ProblemResults,
    figures: &mut Figures,
) -> Result<String> {
    let problem = &results.problem;
    let Some(window) = problem.window.filter(|_| problem.dim == 2) else {
        return Ok(String::new());
    };
    let (mut films, mut seed) = (Films::default(), None);
    for flow in &results.flows {
        let Some(run) = flow.finished().next() else { continue };
        let key = RunKey { problem: &problem.name, flow: &flow.flow.name, seed: run.seed };
        // Comparisons of before there were films have no such file.
        if let Ok(stages) = folder.transport(key).and_then(|table| transport::stages(&table)) {
            films.add(problem, (flow, run.seed), (window, &stages), figures)?;
            seed = seed.or(Some(run.seed));
        }
    }
    if films.files.is_empty() {
        return Ok(String::new());
    }
    let again = figures.command(problem, seed, &films.files);
    Ok(format!(
        "<figure class=\"transport\" aria-labelledby=\"transport-{name}\">\n\
         <div class=\"player\" hidden><button type=\"button\">Play</button>\
         <label>Stage <input type=\"range\" min=\"0\" max=\"{last}\" step=\"1\" value=\"{last}\">\
         </label></div>\n<div class=\"films\">\n{}</div>\n\
         <figcaption id=\"transport-{name}\">Transport: the same draws at stages of their way from \
         base to data; every draw keeps its colour, that of its rank in {} at the base. A finite flow \
         moves map by map, a continuous one through time. The limits are those of the densities.\
         </figcaption>\n{again}</figure>\n",
        films.elements,
        escape(&problem.column(0)),
        name = problem.name,
        last = films.longest - 1,
    ))
}

impl Films {
    fn add(
        &mut self,
        problem: &Problem,
        (flow, seed): (&FlowResults, u64),
        (window, stages): ([f64; 4], &[Stage]),
        figures: &mut Figures,
    ) -> Result<()> {
        let flow_title = &flow.flow.title;
        let title = format!("{}: transport of {flow_title} from base to data", problem.title);
        let labels = labels(flow, stages);
        let words: Vec<String> = labels.iter().map(|label| format!("{title}, {label}")).collect();
        let (frames, strip) = transport::draw(window, stages, &words, title)?;
        let name = format!("{}-{}-transport", problem.name, flow.flow.name);
        figures.add(&name, &strip)?;
        self.files.push(name);
        self.longest = self.longest.max(frames.len());
        let items = frames.iter().zip(&labels).map(|(frame, label)| {
            let label = escape(label);
            format!("<li>{}<span class=\"note\">{label}</span></li>\n", frame.inline())
        });
        self.elements += &format!(
            "<div class=\"film\"><p class=\"title\">{}<span class=\"sub\">{}, seed {seed}</span></p>\n\
             <ol class=\"frames\">\n{}</ol></div>\n",
            escape(flow_title),
            flow.flow.family,
            items.collect::<String>(),
        );
        Ok(())
    }
}

/// What each stage shows. Behind the solve of a continuous flow stands one rescaling.
fn labels(flow: &FlowResults, stages: &[Stage]) -> Vec<String> {
    let last = stages.last().map_or(1, |stage| stage.index);
    let label = |stage: &Stage| match (stage.index, flow.flow.family) {
        (0, _) => "base draws".into(),
        (index, Family::Finite) => format!("after map {index} of {last}"),
        (index, Family::Continuous) if index == last => "after the solve and a rescaling".into(),
        (index, Family::Continuous) => format!("time {index}/{}", last - 1),
    };
    stages.iter().map(label).collect()
}
