//! The problems of a comparison: densities that are known, with and without contexts, targets without
//! rows, tables that come along, and the user's.

mod data;
mod dequantised;
mod held_out;
mod picture;
mod published;
mod user_table;

use std::sync::Arc;

use anyhow::Result;
use flows_bench::conditional::ConditionalToy;
use flows_bench::table::{Oddity, PublishedTable, digits, red_wine};
use flows_bench::targets::KnownTarget;
use flows_bench::toys::Toy;
use flows_core::Shape;
use flows_report::record::ProblemKind;

use crate::Usage;
use crate::data::TableData;
use crate::density::Density;

pub use data::ProblemData;
pub use held_out::TEST_DRAWS;
pub use picture::{Picture, limits};
pub use published::Published;
pub use user_table::UserTable;

/// Something to learn.
#[derive(Clone, Debug)]
pub enum Problem {
    /// A density in the plane that is known.
    Toy(Toy),
    /// A conditional density that is known.
    Conditional(ConditionalToy),
    /// A density that is known up to a constant, fitted by reverse KL.
    Target(Density),
    /// 1,599 red wines, 11 measurements each, dequantised.
    RedWine,
    /// 1,797 handwritten digits, 8 x 8 pixels each, dequantised.
    Digits,
    /// A standard table with its published split.
    Published(Arc<Published>),
    /// A table of the user's.
    File(Arc<UserTable>),
}

const RED_WINE: &str = "red-wine";
const DIGITS: &str = "digits";

fn row(x: &[f64]) -> [f64; 2] {
    [x[0], x[1]]
}

impl Problem {
    /// All problems that need no file.
    pub fn all() -> impl Iterator<Item = Self> {
        let toys = Toy::ALL.into_iter().map(Self::Toy);
        let conditional = ConditionalToy::ALL.into_iter().map(Self::Conditional);
        let targets = KnownTarget::ALL.into_iter().map(|target| Self::Target(target.into()));
        toys.chain(conditional).chain([Self::RedWine, Self::Digits]).chain(targets)
    }

    /// The problem called `name`.
    ///
    /// # Errors
    /// [`Usage`] with all names, if there is none.
    pub fn named(name: &str) -> Result<Self> {
        if PublishedTable::ALL.iter().any(|table| table.name() == name) {
            return Err(Usage(format!(
                "{name} does not come along; run uci --data FOLDER, or name it as [[published]] in a plan"
            ))
            .into());
        }
        let names = || Self::all().map(|p| p.name().to_owned()).collect::<Vec<_>>().join(", ");
        Self::all()
            .find(|problem| problem.name() == name)
            .ok_or_else(|| Usage(format!("unknown problem {name:?}; there are {}", names())).into())
    }

    /// Name on the command line and of folders.
    pub fn name(&self) -> &str {
        match self {
            Self::Toy(toy) => toy.name(),
            Self::Conditional(toy) => toy.name(),
            Self::Target(target) => target.name(),
            Self::RedWine => RED_WINE,
            Self::Digits => DIGITS,
            Self::Published(published) => published.table().name(),
            Self::File(table) => table.name(),
        }
    }

    /// Name for readers.
    pub fn title(&self) -> &str {
        match self {
            Self::RedWine => "red wine",
            Self::Published(published) => published.table().title(),
            Self::File(table) => table.title(),
            _ => self.name(),
        }
    }

    /// What kind of problem it is, for readers.
    pub fn kind(&self) -> ProblemKind {
        match self {
            Self::Toy(_) => ProblemKind::Toy,
            Self::Conditional(_) => ProblemKind::Conditional,
            Self::Target(_) => ProblemKind::Target,
            Self::RedWine | Self::Digits | Self::Published(_) | Self::File(_) => ProblemKind::Table,
        }
    }

    /// What `compare` is told to have this table of the user's.
    pub fn arguments(&self) -> Option<String> {
        let Self::File(table) = self else { return None };
        Some(table.arguments())
    }

    /// The standard table that it is, if it is one.
    pub fn published(&self) -> Option<PublishedTable> {
        let Self::Published(published) = self else { return None };
        Some(published.table())
    }

    /// The density to fit by reverse KL, if it is one.
    pub fn target(&self) -> Option<&Density> {
        match self {
            Self::Target(density) => Some(density),
            _ => None,
        }
    }

    /// Whether every batch is drawn anew, so that there is nothing to stop early for.
    pub fn is_sampled(&self) -> bool {
        matches!(self, Self::Toy(_) | Self::Conditional(_))
    }

    /// Entropy of the true density in nats with its error, where it is known: the expected entropy of
    /// a conditional density.
    pub fn entropy(&self) -> Option<[f64; 2]> {
        let entropy = match self {
            Self::Toy(toy) => toy.entropy(),
            Self::Conditional(toy) => toy.entropy(),
            _ => return None,
        };
        Some([entropy.nats, entropy.error])
    }

    /// What makes its likelihood mean little.
    pub fn oddities(&self) -> &[Oddity] {
        match self {
            Self::File(table) => &table.data().oddities,
            _ => &[],
        }
    }

    /// Where the density is looked at.
    pub fn pictures(&self) -> Vec<Picture> {
        match self {
            Self::Toy(toy) => vec![Picture::of_toy(*toy)],
            Self::Conditional(toy) => Picture::of_conditional(*toy),
            Self::File(table) => Picture::of_table(table.data()),
            _ => Vec::new(),
        }
    }

    /// The true log-density at the cells of each picture, nats; empty where it is not known.
    pub fn true_images(&self) -> Vec<Vec<f64>> {
        let log_density = |x: &[f64], c: &[f64]| match self {
            Self::Toy(toy) => Some(toy.log_density(row(x))),
            Self::Conditional(toy) => Some(toy.log_density(x, c)),
            _ => None,
        };
        let image =
            |picture: Picture| picture.points.iter().map(|(x, c)| log_density(x, c)).collect();
        self.pictures().into_iter().filter_map(image).collect()
    }

    /// Number of features.
    pub fn dim(&self) -> usize {
        match self {
            Self::Toy(_) => 2,
            Self::Conditional(toy) => toy.dim(),
            Self::Target(target) => target.dim(),
            Self::RedWine => 11,
            Self::Digits => 64,
            Self::Published(published) => published.data().test.dim(),
            Self::File(table) => table.data().test.dim(),
        }
    }

    /// Number of conditioning features.
    pub fn context_dim(&self) -> usize {
        match self {
            Self::Conditional(toy) => toy.context_dim(),
            Self::File(table) => table.data().test.context_dim(),
            _ => 0,
        }
    }

    /// One line for `list`.
    pub fn description(&self) -> String {
        match self {
            Self::Toy(toy) => format!("2-D density, entropy {:.4} nats", toy.entropy().nats),
            Self::Conditional(toy) => {
                let nats = toy.entropy().nats;
                format!("{}, expected entropy {nats:.4} nats", toy.description())
            }
            Self::Target(density) => density.description(),
            Self::RedWine => "table of 1,599 x 11 measurements, dequantised".into(),
            Self::Digits => "table of 1,797 x 64 pixels of digits, dequantised".into(),
            Self::Published(published) => self.size(published.data()),
            Self::File(table) => self.size(table.data()),
        }
    }

    /// Rows of all parts and columns.
    fn size(&self, data: &TableData) -> String {
        let rows: usize = data.record.rows.iter().sum();
        format!("{rows} x {}", self.dim())
    }

    /// The data of a run with this seed; a target has none.
    ///
    /// # Errors
    /// Those of the table.
    pub fn data(&self, seed: u64) -> Result<Option<ProblemData>> {
        Ok(Some(match self {
            Self::Toy(toy) => ProblemData::of_toy(*toy, seed)?,
            Self::Conditional(toy) => ProblemData::of_conditional(*toy, seed)?,
            Self::Target(_) => return Ok(None),
            Self::RedWine => {
                let wine = red_wine()?;
                ProblemData::built_in(&wine.table, wine.dequantisation, seed)?
            }
            Self::Digits => {
                let digits = digits()?;
                let mut data = ProblemData::built_in(&digits.table, digits.dequantisation, seed)?;
                data.record.image = Some(Shape { channels: 1, height: 8, width: 8 });
                data
            }
            Self::Published(published) => ProblemData::of_table(published.data().clone(), seed),
            Self::File(table) => ProblemData::of_table(table.data().clone(), seed),
        }))
    }
}
