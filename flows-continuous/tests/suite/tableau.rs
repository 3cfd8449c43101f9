//! The order conditions of the explicit methods, and what is refused as one.

use flows_continuous::{
    DORMAND_PRINCE, DORMAND_PRINCE_8, EULER, HEUN, MIDPOINT, RALSTON, RK4, Tableau,
};

const ALL: [Tableau; 7] = [EULER, MIDPOINT, HEUN, RALSTON, RK4, DORMAND_PRINCE, DORMAND_PRINCE_8];

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
    let counts: Vec<usize> = (1..=9).map(|order| trees(order).len()).collect();
    assert_eq!(counts, [1, 1, 2, 4, 9, 20, 48, 115, 286]);
}

#[test]
fn order_conditions_hold_up_to_the_stated_order_and_no_further() {
    for method in ALL {
        for order in 1..=method.order {
            let gap = defect(&method, order);
            assert!(gap < 1e-14, "{} at order {order}: {gap:e}", method.name);
        }
        // Smallest for DOP853: 2.7e-5.
        assert!(defect(&method, method.order + 1) > 1e-5, "{}", method.name);
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
