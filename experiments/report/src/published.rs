//! Published test log-likelihoods of the standard tables of density estimation.
//!
//! They are context beside results of this program, and none of them: other hardware, other budgets,
//! other early stopping.

/// The tables, in the order of the values of a [`Published`].
const TABLES: [&str; 5] = ["POWER", "GAS", "HEPMASS", "MINIBOONE", "BSDS300"];

/// What one flow reached in a publication.
pub(crate) struct Published {
    pub(crate) flow: &'static str,
    pub(crate) origin: Origin,
    /// Mean log-likelihood of the test rows of each table with its ±, nats, as printed.
    values: [[&'static str; 2]; 5],
}

/// Where values come from.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// The publication, and where it was quoted from.
    pub(crate) source: &'static str,
    /// What its ± is.
    pub(crate) error: &'static str,
}

const TWO_ERRORS: &str = "two standard errors over test rows";
const DEVIATION: &str = "standard deviation over three runs";
const NOT_STATED: &str = "not stated";
const NO_ERROR: &str = "none given";

const MAF: Origin = Origin { source: "Papamakarios et al. 2017, table 1", error: TWO_ERRORS };
const NSF: Origin = Origin { source: "Durkan et al. 2019, table 1", error: TWO_ERRORS };
const GLOW: Origin =
    Origin { source: "Grathwohl et al. 2019, who ran it themselves", error: NOT_STATED };
const FFJORD: Origin = Origin { source: "Grathwohl et al. 2019", error: DEVIATION };
const TAN: Origin =
    Origin { source: "Oliva et al. 2018, as Grathwohl et al. 2019 quote it", error: NOT_STATED };
const NAF: Origin =
    Origin { source: "Huang et al. 2018, as Durkan et al. 2019 quote it", error: DEVIATION };
const BLOCK_NAF: Origin =
    Origin { source: "De Cao et al. 2019, as Durkan et al. 2019 quote it", error: DEVIATION };
const SOS: Origin =
    Origin { source: "Jaini et al. 2019, as Durkan et al. 2019 quote it", error: DEVIATION };
const UMNN: Origin =
    Origin { source: "Wehenkel and Louppe 2019, taken from secondary sources", error: NOT_STATED };
const OT_FLOW: Origin =
    Origin { source: "Onken et al. 2021, taken from secondary sources", error: NO_ERROR };

/// A line of the table below.
const fn row(flow: &'static str, origin: Origin, values: [[&'static str; 2]; 5]) -> Published {
    Published { flow, origin, values }
}

/// Everything that is known, in the order of publication.
#[rustfmt::skip]
pub(crate) static ALL: [Published; 22] = [
    row("Gaussian", MAF,
        [["-7.74", "0.02"], ["-3.58", "0.75"], ["-27.93", "0.02"], ["-37.24", "1.07"], ["96.67", "0.25"]]),
    row("MADE", MAF,
        [["-3.08", "0.03"], ["3.56", "0.04"], ["-20.98", "0.02"], ["-15.59", "0.50"], ["148.85", "0.28"]]),
    row("MADE MoG (10 components)", MAF,
        [["0.40", "0.01"], ["8.47", "0.02"], ["-15.15", "0.02"], ["-12.27", "0.47"], ["153.71", "0.28"]]),
    row("Real NVP (5 couplings)", MAF,
        [["-0.02", "0.01"], ["4.78", "1.80"], ["-19.62", "0.02"], ["-13.55", "0.49"], ["152.97", "0.28"]]),
    row("Real NVP (10 couplings)", MAF,
        [["0.17", "0.01"], ["8.33", "0.14"], ["-18.71", "0.02"], ["-13.84", "0.52"], ["153.28", "1.78"]]),
    row("MAF (5 layers)", MAF,
        [["0.14", "0.01"], ["9.07", "0.02"], ["-17.70", "0.02"], ["-11.75", "0.44"], ["155.69", "0.28"]]),
    row("MAF (10 layers)", MAF,
        [["0.24", "0.01"], ["10.08", "0.02"], ["-17.73", "0.02"], ["-12.24", "0.45"], ["154.93", "0.28"]]),
    row("MAF MoG (5 layers)", MAF,
        [["0.30", "0.01"], ["9.59", "0.02"], ["-17.39", "0.02"], ["-11.68", "0.44"], ["156.36", "0.28"]]),
    row("TAN", TAN,
        [["0.48", "0.01"], ["11.19", "0.02"], ["-15.12", "0.02"], ["-11.01", "0.48"], ["157.03", "0.07"]]),
    row("NAF (MAF with DDSF)", NAF,
        [["0.62", "0.01"], ["11.96", "0.33"], ["-15.09", "0.40"], ["-8.86", "0.15"], ["157.73", "0.04"]]),
    row("Glow", GLOW,
        [["0.17", "0.01"], ["8.15", "0.40"], ["-18.92", "0.08"], ["-11.35", "0.07"], ["155.07", "0.03"]]),
    row("FFJORD", FFJORD,
        [["0.46", "0.01"], ["8.59", "0.12"], ["-14.92", "0.08"], ["-10.43", "0.04"], ["157.40", "0.19"]]),
    row("B-NAF", BLOCK_NAF,
        [["0.61", "0.01"], ["12.06", "0.09"], ["-14.71", "0.38"], ["-8.95", "0.07"], ["157.36", "0.03"]]),
    row("SOS", SOS,
        [["0.60", "0.01"], ["11.99", "0.41"], ["-15.15", "0.10"], ["-8.90", "0.11"], ["157.48", "0.41"]]),
    row("Glow (affine couplings and LU)", NSF,
        [["0.42", "0.01"], ["12.24", "0.03"], ["-16.99", "0.02"], ["-10.55", "0.45"], ["156.95", "0.28"]]),
    row("MAF (residual MADE and LU)", NSF,
        [["0.45", "0.01"], ["12.35", "0.02"], ["-17.03", "0.02"], ["-10.92", "0.46"], ["156.95", "0.28"]]),
    row("Q-NSF (coupling)", NSF,
        [["0.64", "0.01"], ["12.80", "0.02"], ["-15.35", "0.02"], ["-9.35", "0.44"], ["157.65", "0.28"]]),
    row("RQ-NSF (coupling)", NSF,
        [["0.64", "0.01"], ["13.09", "0.02"], ["-14.75", "0.03"], ["-9.67", "0.47"], ["157.54", "0.28"]]),
    row("Q-NSF (autoregressive)", NSF,
        [["0.66", "0.01"], ["12.91", "0.02"], ["-14.67", "0.03"], ["-9.72", "0.47"], ["157.42", "0.28"]]),
    row("RQ-NSF (autoregressive)", NSF,
        [["0.66", "0.01"], ["13.09", "0.02"], ["-14.01", "0.03"], ["-9.22", "0.48"], ["157.31", "0.28"]]),
    row("UMNN-MAF", UMNN,
        [["0.63", "0.01"], ["10.89", "0.70"], ["-13.99", "0.21"], ["-9.67", "0.13"], ["157.98", "0.01"]]),
    row("OT-Flow", OT_FLOW,
        [["0.30", ""], ["9.20", ""], ["-17.32", ""], ["-10.55", ""], ["154.20", ""]]),
];

impl Published {
    /// The value on the table that publications call `table`, and its ± where there is one, as
    /// printed; none for another table.
    pub(crate) fn on(&self, table: &str) -> Option<(&'static str, Option<&'static str>)> {
        let index = TABLES.iter().position(|known| *known == table)?;
        let [value, error] = self.values[index];
        Some((value, Some(error).filter(|error| !error.is_empty())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_a_number_with_two_decimals() {
        let is_number = |text: &str| {
            text.parse::<f64>().is_ok() && text.split('.').nth(1).is_some_and(|d| d.len() == 2)
        };
        for published in &ALL {
            for table in TABLES {
                let (value, error) = published.on(table).unwrap();
                assert!(is_number(value), "{}: {value}", published.flow);
                assert!(error.is_none_or(is_number), "{}: {error:?}", published.flow);
                assert_eq!(error.is_none(), published.origin.error == NO_ERROR);
            }
        }
        assert_eq!(ALL[5].on("BSDS300"), Some(("155.69", Some("0.28"))));
        assert_eq!(ALL[5].on("WINE"), None);
    }
}
