//! The config of a run as a file over a preset.

use std::sync::Arc;

use anyhow::Result;
use experiments::Usage;
use experiments::config::{BaseConfig, MixtureBase, RunConfig, StudentTBase, Support};
use experiments::density::DensityName;
use experiments::preset::{self, Preset};
use experiments::stated::Stated;
use flows_bench::targets::{Funnel, KnownTarget};
use flows_core::Architecture;
use flows_core::train::{Budget, Objective};
use flows_finite::architecture::CouplingFlow;

fn parse(text: &str) -> Result<RunConfig> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), text)?;
    Stated { file: Some(file.path()), ..Stated::default() }.read().map(|read| read.config)
}

#[test]
fn every_preset_survives_writing_and_reading() {
    for preset in preset::ALL.iter() {
        let config = RunConfig::of(preset);
        let text = toml::to_string(&config).unwrap();
        assert_eq!(parse(&text).unwrap(), config, "{text}");
    }
    // Averages of weights, which the first preset of a kind has, can only be left out by name.
    for preset in preset::UCI.iter() {
        let config = RunConfig::of(preset);
        let text = toml::to_string(&config).unwrap();
        let named = format!("preset = \"{}\"\n{text}", preset.name);
        assert_eq!(parse(&named).unwrap(), config, "{text}");
    }
}

#[test]
fn a_file_changes_what_it_names_and_nothing_else() {
    let config = parse("preset = \"ffjord\"\nseed = 3\n[train]\nbatch_rows = 64\n").unwrap();
    let preset = RunConfig::of(Preset::named(Some("ffjord")).unwrap());
    assert_eq!(config.train.optimiser, preset.train.optimiser);
    assert_eq!((config.seed, config.train.batch_rows), (3, 64));
    let config =
        parse("[flow]\nkind = \"coupling\"\nlayers = 2\n[budget]\nkind = \"steps\"\nsteps = 5")
            .unwrap();
    let expected: Arc<dyn Architecture> =
        Arc::new(CouplingFlow { layers: 2, ..CouplingFlow::real_nvp() });
    assert_eq!(*config.flow, *expected);
    assert_eq!(config.budget, Budget::Steps { steps: 5 });
}

#[test]
fn bases_and_supports_are_read_over_any_preset_and_survive_writing() {
    let mixture = BaseConfig::Mixture(MixtureBase { components: 8 });
    let student = BaseConfig::StudentT(StudentTBase { nu: 4.0 });
    let cases = [
        ("base = { kind = \"standard_normal\" }", BaseConfig::StandardNormal),
        ("base = { kind = \"diagonal_normal\" }", BaseConfig::DiagonalNormal),
        ("base = { kind = \"full_normal\" }", BaseConfig::FullNormal),
        ("base = { kind = \"mixture\", components = 8 }", mixture),
        ("[base]\nkind = \"student_t\"\nnu = 4.0", student),
        ("base = { kind = \"laplace\" }", BaseConfig::Laplace),
        ("base = { kind = \"logistic\" }", BaseConfig::Logistic),
    ];
    let support = "support = [{ kind = \"real\" }, { kind = \"interval\", from = -4, to = 4 }, \
                   { kind = \"above\", from = 0 }, { kind = \"below\", to = 1.5 }]";
    for (text, base) in cases {
        let config = parse(&format!("{support}\n{text}\n")).unwrap();
        assert_eq!(config.base, base);
        let supports = [
            Support::Real,
            Support::Interval { from: -4.0, to: 4.0 },
            Support::Above { from: 0.0 },
            Support::Below { to: 1.5 },
        ];
        assert_eq!(config.support, supports);
        assert!(config.build::<f64>(4, 0).is_ok(), "{text}");
        assert!(config.build::<f64>(3, 0).is_err_and(|error| error.is::<Usage>()), "{text}");
        let written = toml::to_string(&config).unwrap();
        assert_eq!(parse(&written).unwrap(), config, "{written}");
    }
}

#[test]
fn a_target_brings_its_support_and_objective() {
    let config = parse("target = \"u3\"\n[train]\nbatch_rows = 64\n").unwrap();
    assert_eq!(config.target, Some(DensityName::Known(KnownTarget::U3)));
    assert_eq!(config.support, [Support::Interval { from: -4.0, to: 4.0 }, Support::Real]);
    assert!(matches!(config.train.objective, Objective::ReverseKl(_)));
    assert_eq!((config.train.batch_rows, config.train.patience), (64, None));
    let wide = parse("[target.funnel]\ndim = 4\nscale = 1.5\n").unwrap();
    let written = toml::to_string(&wide).unwrap();
    assert_eq!(parse(&written).unwrap(), wide, "{written}");
    let funnel = Funnel::new(4, 1.5).unwrap();
    assert_eq!(wide.target, Some(DensityName::Known(KnownTarget::Funnel(funnel))));
    for (text, word) in [
        ("[target.funnel]\ndim = 1", "dim"),
        ("[target.funnel]\nwidth = 1", "width"),
        ("[target.program]\ncommand = \"x\"\ndim = 0", "dim"),
        ("[target.lake]\ndim = 1", "lake"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.is::<Usage>() && error.to_string().contains(word), "{text}: {error:#}");
    }
    let error = parse("target = \"u5\"").expect_err("no such target");
    assert!(error.is::<Usage>() && error.to_string().contains("u1, u2"), "{error:#}");
}

#[test]
fn an_unknown_key_at_any_level_is_refused_by_name() {
    let files = [
        "sead = 1",
        "[train]\nbatch = 1",
        "[train.optimiser]\nrate = 1",
        "[data]\nspilt = 1",
        "[data.split]\nkind = \"every_tenth\"\nfraction = 1",
        "[flow]\nkind = \"coupling\"\nbin = 4",
        "[flow]\nkind = \"wavenet\"",
        "[flow]\nkind = \"continuous\"\n[flow.training]\nsolvr = 1",
        "[flow]\nkind = \"continuous\"\n[flow.reporting.solver]\nkind = \"dopri5\"\nrtol = 1e-3\natol = 1e-3\nx = 1",
        "[budget]\nkind = \"hours\"\nhours = 1",
        "preset = \"wavenet\"",
        "preset = 3",
        "seed = ",
    ];
    for file in files {
        let error = parse(file).expect_err(file);
        assert!(error.is::<Usage>(), "{file}: {error:#}");
        let wrong = ["sead", "batch", "rate", "spilt", "fraction", "bin", "wavenet", "solvr", "x"];
        let named = wrong.iter().chain(&["hours", "preset", "TOML"]);
        assert!(named.into_iter().any(|w| error.to_string().contains(w)), "{error:#}");
    }
}

/// Each option without settings refuses any, by name.
#[test]
fn an_option_without_settings_takes_none() {
    let ode = "preset = \"ffjord\"\n[flow]\n";
    for (before, text) in [
        ("", "base = { kind = \"laplace\", x = 1 }"),
        ("", "support = [{ kind = \"real\", x = 1 }]"),
        ("", "train.objective = { kind = \"maximum_likelihood\", x = 1 }"),
        (ode, "gradient = { kind = \"adjoint\", x = 1 }"),
        (ode, "field.time = { kind = \"concat\", x = 1 }"),
        (ode, "reporting.divergence = { kind = \"exact\", x = 1 }"),
    ] {
        let error = parse(&format!("{before}{text}")).expect_err(text).to_string();
        assert!(error.contains("unknown field `x`"), "{text}: {error}");
    }
}

/// A table of the same kind changes what it names, one of another kind replaces the whole.
#[test]
fn settings_stay_where_the_kind_stays() {
    let ode = "preset = \"ffjord\"\n[flow.training]\n";
    let training = |text: &str| {
        let config = toml::Table::try_from(parse(&format!("{ode}{text}")).unwrap()).unwrap();
        config["flow"]["training"]["solver"].to_string()
    };
    let expected = training("solver = { kind = \"dopri5\", rtol = 1e-3, atol = 1e-2 }");
    for text in ["solver = { atol = 1e-2 }", "solver = { kind = \"dopri5\", atol = 1e-2 }"] {
        assert_eq!(training(text), expected);
    }
    let other = training("solver = { kind = \"rk4\", steps = 8 }");
    assert!(other.contains("steps = 8") && !other.contains("atol"), "{other}");
}

/// What earlier releases read is answered with what to write, made of the file's own values.
#[test]
fn an_old_spelling_is_answered_with_the_new_one() {
    let ode = "preset = \"ffjord\"\n[flow]\n";
    let maf = "preset = \"maf\"\n[flow]\n";
    for (before, old, place, new) in [
        ("", "[budget]\nsteps = 5", "budget", "budget = { kind = \"steps\", steps = 5 }"),
        ("", "budget = { work = 10 }", "budget", "budget = { kind = \"work\", work = 10 }"),
        ("", "base = \"laplace\"", "base", "base = { kind = \"laplace\" }"),
        ("", "[base.student_t]\nnu = 4.0", "base", "base = { kind = \"student_t\", nu = 4.0 }"),
        (
            maf,
            "transformer = { affine = { scale = { bounded = 2.0 } } }",
            "flow.transformer",
            "transformer = { kind = \"affine\", scale = { kind = \"bounded\", bound = 2.0 } }",
        ),
        (
            maf,
            "conditioner = { residual = { width = 8 } }",
            "flow.conditioner",
            "conditioner = { kind = \"residual\", width = 8 }",
        ),
        (
            ode,
            "training = { solver = { dopri5 = { rtol = 1e-3, atol = 1e-3 } } }",
            "flow.training.solver",
            "solver = { kind = \"dopri5\", atol = 1e-3, rtol = 1e-3 }",
        ),
        (
            ode,
            "field = { perceptron = { hidden = [8], time = \"concat_squash\" } }",
            "flow.field",
            "field = { kind = \"perceptron\", hidden = [8], time = { kind = \"concat_squash\" } }",
        ),
        (ode, "gradient = \"adjoint\"", "flow.gradient", "gradient = { kind = \"adjoint\" }"),
        (
            "",
            "support = [\"real\", { interval = [-4, 4] }, { above = 0 }]",
            "support",
            "support = [{ kind = \"real\" }, { kind = \"interval\", from = -4, to = 4 }, \
             { kind = \"above\", from = 0 }]",
        ),
        (
            "",
            "train.objective = { flow_matching = { coupling = \"independent\" } }",
            "train.objective",
            "objective = { kind = \"flow_matching\", coupling = { kind = \"independent\" } }",
        ),
    ] {
        let error = parse(&format!("{before}{old}")).expect_err(old);
        assert!(error.is::<Usage>(), "{old}: {error:#}");
        let sentence = format!(": {place}: a choice is written with kind; write {new}");
        assert!(error.to_string().ends_with(&sentence), "{old}:\n{error}\n{sentence}");
    }
    // A setting that the preset leaves out is none, whatever else is wrong.
    let text = "target = \"u1\"\nsead = 1\n[flow]\nkind = \"autoregressive\"\nsampling = {}\n\
                [train.objective]\nannealing = { from = 0.5, until = 0.5 }\n\
                [train]\nbase_update = { every = 1, rows = 9 }";
    let error = parse(text).expect_err("sead").to_string();
    assert!(error.contains("`sead`") && !error.contains("write"), "{error}");
    let error = parse("base = \"cauchy\"").expect_err("no such base").to_string();
    assert!(error.contains("kind = \"cauchy\"") && error.contains("`laplace`"), "{error}");
}

/// Kinds that are presets now, and settings that have another name.
#[test]
fn what_has_another_name_is_answered_with_it() {
    for (old, says) in [
        (
            "[flow]\nkind = \"real_nvp\"\nscale = { bounded = 2.0 }",
            "write preset = \"real-nvp\" above all tables, its settings being those of \
             kind = \"coupling\": mixing = \"lu\", transformer = { kind = \"affine\", \
             inverted = false, scale = { kind = \"bounded\", bound = 2.0 } }",
        ),
        (
            "[flow]\nkind = \"nsf_coupling\"\nbins = 8\nlinear = false",
            "mixing = \"none\", transformer = { kind = \"rational_quadratic\", bins = 8, bound = 4.0, \
             tails = \"identity\" }",
        ),
        (
            "preset = \"maf\"\n[flow]\nfast = \"sampling\"",
            "flow: fast is called formula now; write formula = \"sampling\"",
        ),
        (
            "preset = \"nsf-coupling\"\n[flow]\nbins = 4",
            "flow: bins is a setting of the transformer now; write transformer.bins = 4",
        ),
        (
            "preset = \"real-nvp\"\n[flow]\nscale = { bounded = 2.0 }",
            "flow: scale is a setting of the transformer now; write transformer.scale = \
             { kind = \"bounded\", bound = 2.0 }",
        ),
        (
            "preset = \"real-nvp\"\n[flow]\nlinear = false",
            "flow: linear is part of mixing now; write mixing = \"none\"",
        ),
        (
            "preset = \"glow\"\n[flow]\nsteps = 4",
            "flow: steps is called layers now; write layers = 4",
        ),
    ] {
        let error = parse(old).expect_err(old);
        assert!(error.is::<Usage>() && error.to_string().ends_with(says), "{old}:\n{error}");
    }
}
