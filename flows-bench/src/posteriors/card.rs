//! The posteriors that there are: names, files, models, and what is known of them.

use std::sync::Arc;

use super::Posterior;
use super::data::Data;
use super::eight_schools::{Form, Schools};
use super::garch::Garch;
use super::gauss_mix::GaussMix;
use super::model::Model;
use super::regression::Regression;
use crate::reference_error::Result;

/// Name, files and constants of a posterior.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) name: &'static str,
    /// The file of data, without its ending.
    pub(super) data: &'static str,
    /// The file of draws, without its ending.
    pub(super) draws: &'static str,
    pub(super) published: Option<Published>,
    pub(super) embedded: Option<fn() -> Arc<dyn Model>>,
    pub(super) read: fn(&Data) -> Result<Arc<dyn Model>>,
}

/// What is known of a posterior given the published data.
#[derive(Debug)]
pub(super) struct Published {
    /// Coefficients or effects integrated out in closed form, the scale by Gauss rules.
    pub(super) log_normaliser: f64,
    /// The log-density at 0.1 in every coordinate, which tells the published data from others.
    pub(super) log_density: f64,
}

/// Two rules of other intervals and nodes agree to fifteen digits.
pub(super) const LOG_NORMALISER_ERROR: f64 = 1e-10;

const EIGHT_SCHOOLS: f64 = -32.004_494_532_852_73;
const EIGHT_SCHOOLS_DRAWS: &str = "eight_schools-eight_schools_noncentered";

pub(super) static CARDS: [Card; 7] = [
    Card {
        name: Posterior::NAMES[0],
        data: "eight_schools",
        draws: EIGHT_SCHOOLS_DRAWS,
        published: Some(Published {
            log_normaliser: EIGHT_SCHOOLS,
            log_density: -43.981_218_759_279_73,
        }),
        embedded: Some(|| Arc::new(Schools::published(Form::NonCentred))),
        read: |data| Ok(Arc::new(Schools::of(Form::NonCentred, data)?)),
    },
    Card {
        name: Posterior::NAMES[1],
        data: "eight_schools",
        draws: EIGHT_SCHOOLS_DRAWS,
        published: Some(Published {
            log_normaliser: EIGHT_SCHOOLS,
            log_density: -44.791_412_179_238_85,
        }),
        embedded: Some(|| Arc::new(Schools::published(Form::Centred))),
        read: |data| Ok(Arc::new(Schools::of(Form::Centred, data)?)),
    },
    Card {
        name: Posterior::NAMES[2],
        data: "arK",
        draws: "arK-arK",
        published: Some(Published {
            log_normaliser: 57.894_446_741_705_1,
            log_density: -229.199_007_043_699_42,
        }),
        embedded: None,
        read: |data| Ok(Arc::new(Regression::autoregressive(data)?)),
    },
    Card {
        name: Posterior::NAMES[3],
        data: "sblrc",
        draws: "sblrc-blr",
        published: Some(Published {
            log_normaliser: -195.660_735_774_038,
            log_density: -433_348.744_943_189_7,
        }),
        embedded: None,
        read: |data| Ok(Arc::new(Regression::bayesian(data)?)),
    },
    Card {
        name: Posterior::NAMES[4],
        data: "kidiq",
        draws: "kidiq-kidscore_interaction",
        published: Some(Published {
            log_normaliser: -1_873.509_015_109_31,
            log_density: -900_106.427_194_618_4,
        }),
        embedded: None,
        read: |data| Ok(Arc::new(Regression::kid_score(data)?)),
    },
    Card {
        name: Posterior::NAMES[5],
        data: "garch",
        draws: "garch-garch11",
        published: None,
        embedded: None,
        read: |data| Ok(Arc::new(Garch::of(data)?)),
    },
    Card {
        name: Posterior::NAMES[6],
        data: "low_dim_gauss_mix",
        draws: "low_dim_gauss_mix-low_dim_gauss_mix",
        published: None,
        embedded: None,
        read: |data| Ok(Arc::new(GaussMix::of(data)?)),
    },
];
