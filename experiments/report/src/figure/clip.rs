//! Curves cut at the limits of an axis, without moving the points where they cross.

/// The parts of a polyline whose y lies in `[low, high]`.
pub(crate) fn clip(points: &[(f64, f64)], low: f64, high: f64) -> Vec<Vec<(f64, f64)>> {
    let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut previous: Option<(f64, f64)> = None;
    for &point in points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
        let inside = (low..=high).contains(&point.1);
        let connected = previous.is_some_and(|last| (low..=high).contains(&last.1));
        if !connected {
            parts
                .push(previous.into_iter().filter_map(|p| crossing(p, point, low, high)).collect());
        }
        if let Some(part) = parts.last_mut() {
            if inside {
                part.push(point);
            } else if let Some(last) = previous.filter(|_| connected) {
                part.extend(crossing(point, last, low, high));
            }
        }
        previous = Some(point);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Where the segment from `outside` first meets the limits on its way to `inside`, if it ends inside.
fn crossing(outside: (f64, f64), inside: (f64, f64), low: f64, high: f64) -> Option<(f64, f64)> {
    let limit = if outside.1 > high { high } else { low };
    let share = (limit - outside.1) / (inside.1 - outside.1);
    let x = outside.0 + share * (inside.0 - outside.0);
    (low..=high).contains(&inside.1).then_some((x, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_cut_where_it_crosses() {
        let curve = [(0.0, 4.0), (1.0, 0.0), (2.0, 1.0), (3.0, 3.0), (4.0, 5.0), (5.0, 1.0)];
        let parts = clip(&curve, 0.0, 2.0);
        assert_eq!(
            parts,
            [vec![(0.5, 2.0), (1.0, 0.0), (2.0, 1.0), (2.5, 2.0)], vec![(4.75, 2.0), (5.0, 1.0)],]
        );
    }

    #[test]
    fn a_curve_inside_is_kept_and_one_outside_is_dropped() {
        assert_eq!(clip(&[(0.0, 1.0), (1.0, 1.5)], 0.0, 2.0), [[(0.0, 1.0), (1.0, 1.5)]]);
        assert!(clip(&[(0.0, 3.0), (1.0, 4.0), (2.0, f64::NAN)], 0.0, 2.0).is_empty());
    }
}
