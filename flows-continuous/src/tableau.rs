//! Explicit Runge–Kutta methods as data.
//!
//! One step of size h from (t, y) with s stages is
//! ```text
//! kᵢ = f(t + cᵢ h, y + h Σ_{j<i} aᵢⱼ kⱼ),   i = 1 … s
//! y' = y + h Σᵢ bᵢ kᵢ
//! ```
//!
//! Reference: Hairer, Nørsett, Wanner, *Solving Ordinary Differential Equations I*, 2nd ed. 1993,
//! II.1 (eq. 1.8) for the notation, II.2 for the order conditions.

/// Largest difference allowed between a sum of coefficients and its exact value.
const ROUNDING: f64 = 1e-14;

/// Coefficients of an explicit Runge–Kutta method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tableau {
    /// Name for tables and messages.
    pub name: &'static str,
    /// Order p: the error over a fixed interval falls as hᵖ.
    pub order: usize,
    /// Stage weights; row i has the i entries left of the diagonal, so the first row is empty.
    pub a: &'static [&'static [f64]],
    /// Weights of the stages in the step.
    pub b: &'static [f64],
    /// Times of the stages, as fractions of the step.
    pub c: &'static [f64],
}

impl Tableau {
    /// Number of stages s, which is the number of velocity evaluations in a step.
    pub const fn stages(&self) -> usize {
        self.b.len()
    }

    /// Whether the shape is that of an explicit method, every row of `a` sums to its `c`, and `b`
    /// sums to 1, each within 1e-14.
    pub const fn check(&self) -> bool {
        let stages = self.stages();
        if stages == 0 || self.a.len() != stages || self.c.len() != stages {
            return false;
        }
        let mut i = 0;
        while i < stages {
            if self.a[i].len() != i || !close(sum(self.a[i]), self.c[i]) {
                return false;
            }
            i += 1;
        }
        close(sum(self.b), 1.0)
    }
}

const fn sum(values: &[f64]) -> f64 {
    let mut total = 0.0;
    let mut i = 0;
    while i < values.len() {
        total += values[i];
        i += 1;
    }
    total
}

/// False for NaN on either side.
const fn close(left: f64, right: f64) -> bool {
    (left - right).abs() <= ROUNDING
}

/// Euler's method, order 1. Euler, *Institutiones calculi integralis* I, 1768, §650.
pub const EULER: Tableau = Tableau { name: "euler", order: 1, a: &[&[]], b: &[1.0], c: &[0.0] };

/// Midpoint method, order 2. Runge 1895; printed in Hairer, Nørsett, Wanner II.1, eq. 1.4.
pub const MIDPOINT: Tableau = Tableau {
    name: "midpoint",
    order: 2,
    a: &[&[], &[1.0 / 2.0]],
    b: &[0.0, 1.0],
    c: &[0.0, 1.0 / 2.0],
};

/// Classical fourth-order method. Kutta 1901; printed in Hairer, Nørsett, Wanner II.1, table 1.2.
pub const RK4: Tableau = Tableau {
    name: "rk4",
    order: 4,
    a: &[&[], &[1.0 / 2.0], &[0.0, 1.0 / 2.0], &[0.0, 0.0, 1.0]],
    b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    c: &[0.0, 1.0 / 2.0, 1.0 / 2.0, 1.0],
};

/// Fifth-order solution of the Dormand–Prince 5(4) pair, order 5, six stages.
///
/// The pair has a seventh stage, which serves only the error estimate and as the first stage of
/// the next step. Where the steps are already chosen, six are enough: this is the tableau that
/// replays the mesh of [`dopri5`](crate::dopri5).
///
/// # Reference
/// Dormand, Prince, *A family of embedded Runge–Kutta formulae*, J. Comput. Appl. Math. 6 (1980)
/// 19–26, table 2; printed in Hairer, Nørsett, Wanner II.5, table 5.2 (first six rows, with the
/// seventh as `b`).
pub const DORMAND_PRINCE: Tableau = Tableau {
    name: "dormand-prince",
    order: 5,
    a: &[
        &[],
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
    ],
    b: &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    c: &[0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0],
};

// A mistyped coefficient does not compile.
const _: () = assert!(EULER.check() && MIDPOINT.check() && RK4.check() && DORMAND_PRINCE.check());

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Tableau; 4] = [EULER, MIDPOINT, RK4, DORMAND_PRINCE];

    /// A rooted tree: the subtrees hanging from its root, in sorted order.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Tree(Vec<Tree>);

    impl Tree {
        fn order(&self) -> usize {
            1 + self.0.iter().map(Tree::order).sum::<usize>()
        }

        /// γ of Hairer, Nørsett, Wanner II.2, definition 2.10.
        fn density(&self) -> f64 {
            self.order() as f64 * self.0.iter().map(Tree::density).product::<f64>()
        }

        /// Every tree with one more vertex.
        fn grown(&self) -> Vec<Tree> {
            let mut root = self.clone();
            root.0.push(Tree(Vec::new()));
            let mut found = vec![root];
            for (i, child) in self.0.iter().enumerate() {
                for larger in child.grown() {
                    let mut tree = self.clone();
                    tree.0[i] = larger;
                    found.push(tree);
                }
            }
            for tree in &mut found {
                tree.0.sort();
            }
            found
        }

        /// For each stage, the product over the subtrees of Σⱼ aᵢⱼ (their value at stage j).
        fn at_stages(&self, method: &Tableau) -> Vec<f64> {
            let mut values = vec![1.0; method.stages()];
            for child in &self.0 {
                let inner = child.at_stages(method);
                for (value, row) in values.iter_mut().zip(method.a) {
                    *value *= row.iter().zip(&inner).map(|(a, x)| a * x).sum::<f64>();
                }
            }
            values
        }
    }

    fn trees(order: usize) -> Vec<Tree> {
        let mut all = vec![Tree(Vec::new())];
        for _ in 1..order {
            all = all.iter().flat_map(Tree::grown).collect();
            all.sort();
            all.dedup();
        }
        all
    }

    /// Largest |Σᵢ bᵢ Φᵢ(tree) − 1/γ(tree)| over the trees of one order (theorem 2.13).
    fn defect(method: &Tableau, order: usize) -> f64 {
        let residual = |tree: &Tree| {
            let stages = tree.at_stages(method);
            let weight: f64 = method.b.iter().zip(stages).map(|(b, x)| b * x).sum();
            (weight - 1.0 / tree.density()).abs()
        };
        trees(order).iter().map(residual).fold(0.0, f64::max)
    }

    #[test]
    fn the_number_of_rooted_trees_is_known() {
        let counts: Vec<usize> = (1..=6).map(|order| trees(order).len()).collect();
        assert_eq!(counts, [1, 1, 2, 4, 9, 20]);
    }

    #[test]
    fn order_conditions_hold_up_to_the_stated_order_and_no_further() {
        for method in ALL {
            for order in 1..=method.order {
                let gap = defect(&method, order);
                assert!(gap < 1e-14, "{} at order {order}: {gap:e}", method.name);
            }
            assert!(defect(&method, method.order + 1) > 1e-4, "{}", method.name);
        }
    }

    #[test]
    fn check_refuses_a_wrong_sum_a_wrong_shape_and_nan() {
        assert!(ALL.iter().all(Tableau::check));
        assert!(!Tableau { b: &[0.9], ..EULER }.check());
        assert!(!Tableau { b: &[f64::NAN], ..EULER }.check());
        assert!(!Tableau { c: &[0.0, 0.4], ..MIDPOINT }.check());
        assert!(!Tableau { a: &[&[], &[]], ..MIDPOINT }.check());
        assert!(!Tableau { a: &[], b: &[], c: &[], ..EULER }.check());
    }
}
