//! What was measured against the target of reverse KL, and when it cannot be trusted.

use serde::{Deserialize, Serialize};

/// How a flow stands to the density that it was fitted to.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct OnTarget {
    /// E_q[log p~ - log q] in nats, at most log Z; `None` where draws lie outside of the support, and in
    /// runs written before this field existed.
    #[serde(default)]
    pub evidence_bound_nats: Option<f64>,
    /// Its standard error over draws.
    #[serde(default)]
    pub evidence_bound_standard_error: Option<f64>,
    /// Divergence from the flow to the target in nats, 0 at best: E_q[log q - log p] + log Z; `None`
    /// where log Z is not known.
    pub reverse_kl_nats: Option<f64>,
    /// Its standard error over draws.
    pub reverse_kl_standard_error: Option<f64>,
    /// Effective sample size of the importance weights p/q, as a fraction of the draws.
    pub effective_sample_size: f64,
    /// Generalised Pareto shape k of the largest weights, which have finite moments below 1/k.
    #[serde(default)]
    pub pareto_k: Option<f64>,
    /// Draws outside of the support of the target.
    #[serde(default)]
    pub zero_weights: u64,
    /// log Z as estimated from the importance weights.
    pub log_normaliser_nats: f64,
    /// Its standard error; `None` where the weights cannot carry one.
    pub log_normaliser_standard_error: Option<f64>,
    /// log Z, where it is known.
    pub exact_log_normaliser_nats: Option<f64>,
    /// Draws that these numbers are means over.
    pub draws: u64,
}

/// Standard errors beyond which two numbers are not taken for equal.
const ERRORS: f64 = 3.0;

/// Differences in nats below which nothing is said: a mode that is lost with a share s of the mass
/// moves log Z by ln(1 - s), and rounding and solvers move it by less than this.
const RESOLUTION: f64 = 1e-3;

/// Effective share of the draws below which few of them carry all the weight, and with it the
/// estimate of its own error.
const LEAST_SHARE: f64 = 0.01;

impl OnTarget {
    /// Why the effective sample size and log Z cannot be trusted, where one of these holds:
    ///
    /// - the tail of the weights is too heavy for their mean to have a standard error;
    /// - log Z is off the exact one by more than three of its standard errors;
    /// - the effective share is above exp(-KL), where KL is the forward divergence less three of its
    ///   standard errors, or 0.001 nats. With w = p/q the share is 1 / E_p\[w\], and by Jensen's inequality
    ///   log E_p\[w\] >= E_p\[log w\] = KL, so that the draws have missed mass of the target;
    /// - the effective share is below 1 %.
    #[must_use]
    pub fn doubt(&self, forward_kl: Option<f64>, standard_error: Option<f64>) -> Option<String> {
        let mut reasons = Vec::new();
        let (error, share) = (self.log_normaliser_standard_error, self.effective_sample_size);
        if error.is_none() {
            let shape = self.pareto_k.map_or("unknown".into(), |k| format!("{k:.2}"));
            reasons.push(format!(
                "the weights have a tail of shape {shape}, at which their mean has no standard error"
            ));
        }
        let error = error.unwrap_or(0.0);
        let off = self.exact_log_normaliser_nats.map_or(0.0, |z| self.log_normaliser_nats - z);
        if off.abs() > (ERRORS * error).max(RESOLUTION) {
            let side = if off > 0.0 { "above" } else { "below" };
            let errors = off.abs() / error;
            let distance = off.abs();
            reasons.push(if errors.is_finite() {
                format!(
                    "log Z is {distance:.4} nats {side} the exact one, {errors:.0} standard errors"
                )
            } else {
                format!("log Z is {distance:.4} nats {side} the exact one")
            });
        }
        let room = (ERRORS * standard_error.unwrap_or(0.0)).max(RESOLUTION);
        let least = forward_kl.map(|kl| kl - room);
        if let (Some(kl), Some(least)) = (forward_kl, least)
            && share > (-least).exp()
        {
            let most = 100.0 * (-kl).exp();
            reasons.push(format!(
                "a forward KL of {kl:.4} nats allows an effective sample size of {most:.2} % at most, \
                 so the draws miss a part of the target"
            ));
        }
        if share < LEAST_SHARE {
            reasons.push("an effective sample size below 1 % is carried by a few draws".into());
        }
        (!reasons.is_empty()).then(|| format!("cannot be trusted: {}", reasons.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flow that fits; log Z is 2 and its error 0.001.
    const FIT: OnTarget = OnTarget {
        evidence_bound_nats: Some(1.99),
        evidence_bound_standard_error: Some(1e-4),
        reverse_kl_nats: Some(0.01),
        reverse_kl_standard_error: Some(1e-4),
        effective_sample_size: 0.98,
        pareto_k: Some(0.1),
        zero_weights: 0,
        log_normaliser_nats: 2.002,
        log_normaliser_standard_error: Some(1e-3),
        exact_log_normaliser_nats: Some(2.0),
        draws: 100_000,
    };

    fn doubt(found: OnTarget, kl: f64) -> String {
        found.doubt(Some(kl), Some(1e-3)).unwrap_or_default()
    }

    #[test]
    fn a_fit_is_not_doubted() {
        // exp(-0.022 + 0.003) is just above 0.98, exp(-0.024 + 0.003) below.
        assert_eq!(doubt(FIT, 0.022), "");
        assert!(doubt(FIT, 0.024).contains("miss a part of the target"));
        // What is exact has no room for errors, and needs none.
        let exact = OnTarget {
            effective_sample_size: 1.0,
            log_normaliser_nats: 2.000_001,
            log_normaliser_standard_error: Some(0.0),
            ..FIT
        };
        assert_eq!(exact.doubt(Some(0.0), None), None);
        assert_eq!(exact.doubt(None, None), None);
    }

    #[test]
    fn a_lost_mode_is_marked_however_large_the_effective_sample_size() {
        // Half of the mass is lost: log Z is low by ln 2, and the weights look even.
        let lost = OnTarget { log_normaliser_nats: 2.0 - 2f64.ln(), ..FIT };
        let said = doubt(lost, 5.0);
        assert!(
            said.starts_with("cannot be trusted: log Z is 0.6931 nats below the exact one, 693")
        );
        assert!(said.contains("5.0000 nats allows an effective sample size of 0.67 % at most"));
        assert!(lost.doubt(None, None).is_some());
    }

    #[test]
    fn log_z_is_off_beyond_three_errors_on_either_side() {
        let off = |nats| doubt(OnTarget { log_normaliser_nats: 2.0 + nats, ..FIT }, 0.01);
        assert_eq!([off(0.0029), off(-0.0029)], ["", ""]);
        assert!(off(0.0031).contains("above the exact one, 3 standard errors"));
        assert!(off(-0.0031).contains("below"));
    }

    #[test]
    fn a_heavy_tail_is_marked_with_its_shape() {
        let heavy = OnTarget { pareto_k: Some(0.83), log_normaliser_standard_error: None, ..FIT };
        assert!(doubt(heavy, 0.01).contains("tail of shape 0.83"));
        let unknown = OnTarget { exact_log_normaliser_nats: None, ..FIT };
        assert_eq!(unknown.doubt(None, None), None);
    }

    #[test]
    fn few_effective_draws_are_marked() {
        let share = |share| doubt(OnTarget { effective_sample_size: share, ..FIT }, 4.0);
        assert_eq!(share(0.0101), "");
        assert!(share(0.0099).contains("below 1 %"));
    }
}
