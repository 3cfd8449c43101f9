//! Where draws stand on their way from base to data, for animations.

use anyhow::Result;
use flows_core::{Context, Flow, Real, Stream, Values};

/// Draws that are followed.
const DRAWS: usize = 1_200;

/// Most stages that are kept.
const MOST: usize = 12;

/// Rows of stage, x1, x2 for draws from the base: stage 0 is the base, the last one the data. Of many
/// stages, some at equal distances.
///
/// # Errors
/// As [`Bijector::forward`](flows_core::Bijector::forward).
pub fn transport<E: Real>(flow: &Flow<E>, rng: &mut Stream) -> Result<Vec<f32>> {
    let start = flow.base().sample(DRAWS, rng)?;
    let stages = flow.bijector().stages(&start, &Context::none())?;
    let mut rows = Vec::new();
    for index in kept(stages.len()) {
        for point in stages[index].values().chunks_exact(flow.dim()) {
            rows.push(index as f32);
            rows.extend(point.iter().map(|coordinate| coordinate.as_f64() as f32));
        }
    }
    Ok(rows)
}

/// At most [`MOST`] indices below `count`, the first and the last among them.
fn kept(count: usize) -> Vec<usize> {
    let shown = count.min(MOST);
    let last = shown.saturating_sub(1).max(1);
    (0..shown).map(|i| (i * count.saturating_sub(1) + last / 2) / last).collect()
}

#[cfg(test)]
mod tests {
    use flows_core::stream;

    use super::*;
    use crate::config::RunConfig;
    use crate::preset::Preset;

    #[test]
    fn the_path_ends_where_the_map_does() {
        // Ten couplings, each behind a linear layer, and act-norm; twelve times and act-norm.
        for (name, stages, tolerance) in [("real-nvp", 22, 0.0), ("ffjord", 14, 1e-4)] {
            let config = RunConfig::of(Preset::named(Some(name)).unwrap());
            let flow = config.build::<f64>(2).unwrap();
            let start = flow.base().sample(50, &mut stream(3, "start")).unwrap();
            let path = flow.bijector().stages(&start, &Context::none()).unwrap();
            let image = flow.bijector().image(&start, &Context::none()).unwrap().0;
            assert_eq!(path.len(), stages, "{name}");
            assert_eq!(path[0].values(), start.values());
            for (a, b) in path[stages - 1].values().into_iter().zip(image.values()) {
                // The solve is cut into twelve, each accurate to its tolerance of 1e-5.
                assert!((a - b).abs() <= tolerance, "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn the_first_and_the_last_stage_are_kept() {
        assert_eq!(kept(1), [0]);
        assert_eq!(kept(3), [0, 1, 2]);
        let many = kept(42);
        assert_eq!((many.len(), many[0], many[11]), (MOST, 0, 41));
        assert!(many.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
