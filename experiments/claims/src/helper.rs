//! What several claims measure with: known densities, small models, short trainings, statistics.

pub(crate) mod jacobian;
pub(crate) mod known_conditionals;
pub(crate) mod known_density;
pub(crate) mod kolmogorov;
pub(crate) mod labelled_moons;
pub(crate) mod perceptron;
pub(crate) mod plain_conditioner;
pub(crate) mod scalar_map;
pub(crate) mod short_training;
pub(crate) mod small_field;
pub(crate) mod specimen;
pub(crate) mod spline_roots;
pub(crate) mod standard_normal;
pub(crate) mod statistics;
pub(crate) mod timing;
pub(crate) mod training;
