//! Configs that cannot be used.

use crate::{Place, assert_says};

/// Every config is refused as such, by the name of the file and the setting, before anything is written.
#[test]
fn a_config_out_of_range_is_refused_by_file_and_setting_before_anything_is_written() {
    let place = Place::new();
    place.gaussian("g.csv", 100);
    let nvp = "[flow]\nkind = \"coupling\"\n";
    let spline = "[flow]\nkind = \"coupling\"\n[flow.transformer]\nkind = \"rational_quadratic\"\n";
    let ode = "preset = \"ffjord\"\n[flow]\n";
    let cases = [
        ("", "seed = -1", "seed"),
        ("", "seed = 1.5", "seed"),
        ("", "precision = \"f16\"", "precision"),
        ("", "preset = \"wavenet\"", "preset"),
        ("", "base = { kind = \"cauchy\" }", "base"),
        ("", "train = 1", "train"),
        ("", "[budget]\nkind = \"hours\"\nhours = 1", "budget"),
        ("", "[budget]\nkind = \"steps\"\nsteps = 0", "steps"),
        ("", "[budget]\nseconds = nan", "seconds"),
        ("", "[train]\nbatch_rows = 0", "batch_rows"),
        ("", "[train]\nbatch_rows = -1", "batch_rows"),
        ("", "[train]\nclip_norm = nan", "clip_norm"),
        ("", "[train]\nema = 1", "ema"),
        ("", "[train]\nvalidate_every = 0", "validate_every"),
        ("", "[train]\npatience = 0", "patience"),
        ("", "[train]\nschedule = \"linear\"", "schedule"),
        ("", "[train.optimiser]\nlearning_rate = 0", "learning_rate"),
        ("", "[train.optimiser]\nlearning_rate = nan", "learning_rate"),
        ("", "[train.optimiser]\nlearning_rate = \"fast\"", "learning_rate"),
        ("", "[train.optimiser]\nbetas = [1, 0.9]", "betas"),
        ("", "[train.optimiser]\nbetas = [0.9]", "betas"),
        ("", "[train.optimiser]\nweight_decay = -1", "weight_decay"),
        ("", "[data.split]\nkind = \"random\"\ntest = 0", "test"),
        ("", "[data.split]\nkind = \"random\"\ntest = 0.95", "test"),
        ("", "[data]\ndequantise = \"all\"", "dequantise"),
        (nvp, "layers = 0", "layers"),
        (nvp, "layers = -1", "flow"),
        (nvp, "layers = 1000000000000", "layers"),
        (nvp, "conditioner = { kind = \"perceptron\", hidden = [0] }", "width"),
        (nvp, "conditioner = { kind = \"perceptron\", hidden = 64 }", "flow"),
        (nvp, "conditioner = { kind = \"residual\", width = 0 }", "width"),
        (nvp, "conditioner = { kind = \"residual\", blocks = 1000000000000 }", "widths"),
        (nvp, "conditioner = { kind = \"perceptron\", hidden = [100000, 100000] }", "widths"),
        (nvp, "conditioner = { kind = \"perceptron\", hidden = [9000000000000000000] }", "widths"),
        (nvp, "transformer.scale = { kind = \"bounded\", bound = 0 }", "bound"),
        (nvp, "transformer.scale = { kind = \"bounded\", bound = nan }", "bound"),
        (nvp, "conditioner = { kind = \"perceptron\", activation = \"gelu\" }", "flow"),
        (nvp, "bins = 8", "bins"),
        (spline, "bins = 1", "bins"),
        (spline, "bound = 0", "bound"),
        (spline, "bound = nan", "bound"),
        (ode, "end_time = 0", "end_time"),
        (ode, "end_time = -1", "end_time"),
        (ode, "end_time = nan", "end_time"),
        (ode, "[flow.field]\nkind = \"perceptron\"\nhidden = [9000000000000000000]", "widths"),
        (ode, "[flow.training.solver]\nkind = \"rk4\"\nsteps = 0", "flow"),
        (ode, "[flow.training.solver]\nkind = \"rk4\"\nsteps = 1000000000000", "steps"),
        (ode, "[flow.training.solver]\nkind = \"dopri5\"\nrtol = 0\natol = 1e-4", "rtol"),
        (ode, "[flow.training.solver]\nkind = \"dopri5\"\nrtol = 1e-4\natol = -1", "atol"),
        (ode, "[flow.reporting.solver]\nkind = \"dopri5\"\nrtol = nan\natol = 1e-4", "rtol"),
        (ode, "[flow.reporting.solver]\nkind = \"dopri5\"\nrtol = 1e-12\natol = 1e-4", "rtol"),
        (
            ode,
            "[flow.reporting.solver]\nkind = \"dopri5\"\nrtol = 1e-4\natol = 1e-4\nmax_evaluations = 0",
            "max_evaluations",
        ),
        (
            ode,
            "[flow.reporting.solver]\nkind = \"dopri5\"\nrtol = 1e-4\natol = 1e-4\nfirst_step = -1",
            "first_step",
        ),
        (ode, "[flow.training.divergence]\nkind = \"hutchinson\"\nprobes = 0", "probes"),
        (
            ode,
            "[flow.training.divergence]\nkind = \"hutchinson\"\nprobes = 1000000000000",
            "probes",
        ),
    ];
    for (before, setting, name) in cases {
        place.write("c.toml", format!("{before}{setting}\n"));
        let line = "fit c.toml --data g.csv --out run";
        let line =
            if setting.contains("budget") { line.into() } else { format!("{line} --steps 3") };
        let message = place.fails(2, &line);
        assert_says(&message, &["c.toml", name]);
        assert_eq!(place.files("."), ["c.toml", "g.csv"], "{setting}");
    }
}

#[test]
fn an_unknown_key_at_any_level_is_refused_with_the_known_ones() {
    let place = Place::new();
    place.gaussian("g.csv", 100);
    for (text, wrong, known) in [
        ("sead = 1", "`sead`", "`seed`"),
        ("[train]\nbatch = 1", "`batch`", "`batch_rows`"),
        ("[train.optimiser]\nrate = 1", "`rate`", "`learning_rate`"),
        ("[data]\nspilt = 1", "`spilt`", "`split`"),
        ("[data.split]\nkind = \"random\"\nshare = 1", "`share`", "`test`"),
        ("[flow.transformer]\nbin = 4", "`bin`", "`bins`"),
        ("[flow]\nkind = \"wavenet\"", "`wavenet`", "`coupling`"),
        ("preset = \"ffjord\"\n[flow.training]\nsolvr = 1", "`solvr`", "`solver`"),
        (
            "preset = \"ffjord\"\n[flow.training.solver]\nkind = \"rk5\"\nsteps = 1",
            "`rk5`",
            "`rk4`",
        ),
        (
            "preset = \"ffjord\"\n[flow.training.solver]\nkind = \"rk4\"\nstep = 1",
            "`step`",
            "`steps`",
        ),
    ] {
        place.write("c.toml", text);
        let message = place.fails(2, "fit c.toml --steps 3 --data g.csv --out run");
        assert_says(&message, &["c.toml", wrong, known]);
    }
}

#[test]
fn a_config_that_is_no_toml_or_cannot_be_read_is_named_with_its_line() {
    let place = Place::new();
    place.gaussian("g.csv", 100);
    std::fs::create_dir(place.path("folder.toml")).unwrap();
    place.write("bytes.toml", b"\xff\xfe");
    for name in ["missing.toml", "folder.toml", "bytes.toml"] {
        let message = place.fails(1, &format!("fit {name} --steps 3 --data g.csv --out run"));
        assert_says(&message, &[name, "cannot be read"]);
    }
    place.write("c.toml", "seed = 1\nprecision = f32\n");
    let message = place.fails(2, "fit c.toml --steps 3 --data g.csv --out run");
    assert_says(&message, &["c.toml, line 2: not valid TOML"]);
}

#[test]
fn a_map_of_the_circle_over_a_base_on_the_line_is_wrong_usage() {
    let place = Place::new();
    place.write(
        "c.toml",
        "[flow]\nkind = \"coupling\"\ntransformer = { kind = \"circular_spline\" }\n",
    );
    let message = place.fails(2, "fit c.toml --target banana --steps 1 --out run");
    assert_says(&message, &["flow: circular spline", "the circle [-4, 4)", "the real line"]);
    assert!(!place.path("run").exists());
}
