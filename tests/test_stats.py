"""Statistics against scipy, against full enumeration, and for honesty with few seeds."""

import itertools
import json

import jax
import numpy as np
import pytest

from imbal_jax.evaluate import interim, stats

reference = pytest.importorskip("scipy.stats")
KEY = jax.random.key(0)
SEED = (0, 0)
RUNS = 2_000  # simulations


def test_summary_has_the_t_interval():
    values = np.random.default_rng(0).normal(0.9, 0.02, 7)
    ours = stats.summary("accuracy", values)
    low, high = reference.t.interval(0.95, 6, loc=values.mean(), scale=reference.sem(values))
    np.testing.assert_allclose(ours["ci95"], [low, high])
    np.testing.assert_allclose([ours["mean"], ours["std"]], [values.mean(), values.std(ddof=1)])
    assert ours["worst"] == values.min() and ours["n"] == 7 and ours["left_out"] == 0


def test_intervals_stay_within_what_a_metric_can_be():
    assert stats.summary("accuracy", [0.99, 1.0, 0.9])["ci95"][1] == 1.0 == stats.summary("kappa", [0.99, 0.5])["ci95"][1]
    assert stats.summary("recall_6", [0.0, 0.05])["ci95"][0] == 0.0 > stats.summary("kappa", [0.0, 0.05])["ci95"][0]
    assert stats.summary("kappa", [-0.9, 0.9])["ci95"] == [-1.0, 1.0]
    assert stats.summary("seconds", [1.0, 500.0])["ci95"][0] < 0  # no metric
    rows = [{"seed": s, "method": m, "accuracy": float((s + (m == "a")) % 2)} for s in range(2) for m in ("none", "a")]
    assert stats.comparisons(rows, KEY)["a"]["accuracy"]["ci95"] == [-1.0, 1.0]


def test_worst_is_the_highest_where_lower_is_better():
    assert stats.summary("ece", [0.1, 0.3, 0.2])["worst"] == 0.3
    assert stats.summary("recall_6", [0.1, 0.3, 0.2])["worst"] == 0.1


def test_one_seed_has_no_interval_and_failed_seeds_are_counted():
    one = stats.summary("accuracy", [None, 0.9, float("nan")])
    assert one == {"mean": 0.9, "std": None, "ci95": None, "worst": 0.9, "n": 1, "left_out": 2}
    assert stats.summary("accuracy", [None])["mean"] is None


@pytest.mark.parametrize("n", [2, 3, 5])
def test_permutation_p_is_exact(n):
    rng = np.random.default_rng(n)
    a, b = rng.random(n) + 0.3, rng.random(n)
    flips = [abs(np.dot(signs, a - b)) for signs in itertools.product([1, -1], repeat=n)]
    expected = np.mean([value >= abs((a - b).sum()) - 1e-12 for value in flips])
    assert stats.paired(a, b, KEY)["p"] == pytest.approx(expected)


def test_permutation_p_agrees_with_scipy_when_sampled():
    rng = np.random.default_rng(0)
    a = rng.normal(size=15)
    b = a - rng.normal(0.3, 0.6, size=15)
    flips = reference.permutation_test((a - b,), np.mean, permutation_type="samples", n_resamples=2**15, rng=rng)
    assert stats.paired(a, b, KEY)["p"] == pytest.approx(flips.pvalue, abs=0.015)


def test_equal_methods_are_not_told_apart():
    same = stats.paired([0.9, 0.8, 0.7], [0.9, 0.8, 0.7], KEY)
    assert same["mean"] == 0 and same["p"] == 1 and same["ci95"] == [0, 0] and same["effect"] is None
    assert stats.paired([0.7, 0.69], [0.67, 0.66000001], KEY)["effect"] is None  # they differ by float32's rounding


def test_few_pairs_take_the_t_interval():
    a, b = np.array([0.95, 0.93]), np.array([0.90, 0.91])
    ours = stats.paired(a, b, KEY)
    low, high = reference.t.interval(0.95, 1, loc=(a - b).mean(), scale=reference.sem(a - b))
    assert ours["interval"] == "t" and ours["p"] == 0.5
    np.testing.assert_allclose(ours["ci95"], [low, high])
    assert stats.paired([0.9, None], [0.8, 0.7], KEY) == {
        "mean": pytest.approx(0.1),
        "effect": None,
        "ci95": None,
        "p": None,
        "n": 1,
        "interval": None,
    }


@pytest.mark.parametrize("n", [10, 15, 40])
def test_bootstrap_agrees_with_scipy_at_the_expanded_level(n):
    differences = np.random.default_rng(n).normal(0.01, 0.02, n)
    level = 1 - 2 * reference.norm.cdf(np.sqrt(n / (n - 1)) * reference.t.ppf(0.025, n - 1))
    options = {"confidence_level": level, "method": "percentile", "n_resamples": 20_000, "rng": np.random.default_rng(1)}
    theirs = reference.bootstrap((differences,), np.mean, **options).confidence_interval
    ours = stats.paired(differences, np.zeros(n), KEY)
    assert ours["interval"] == "bootstrap"
    np.testing.assert_allclose(ours["ci95"], theirs, atol=0.08 * (theirs.high - theirs.low))


def simulated(n: int, mean: float = 0.0, arms: int = 1, shape: str = "normal", seed: int = 0) -> np.ndarray:
    """Paired differences [RUNS, arms, n] to one baseline, which all arms of a run share."""
    rng = np.random.default_rng((n, seed) if seed else n)
    draw = rng.standard_normal if shape == "normal" else lambda size: rng.standard_t(3, size)
    return mean + draw((RUNS, arms, n)) - draw((RUNS, 1, n))


def p_values(differences: np.ndarray) -> np.ndarray:
    """[RUNS, arms, n] -> [RUNS, arms], in parts that fit the memory."""
    return np.concatenate([stats._sign_flips(part, SEED) for part in np.array_split(differences, 100)])


@pytest.mark.parametrize("n", [5, 8, 20])
def test_the_t_interval_covers_95_percent(n):
    intervals = [stats.summary("accuracy", values)["ci95"] for values in simulated(n, mean=0.3)[:, 0]]
    assert 0.93 <= np.mean([low <= 0.3 <= high for low, high in intervals]) <= 0.97


@pytest.mark.parametrize(("n", "level"), [(6, 0.05), (8, 0.05), (20, 0.05), (20, 0.05 / 4)])
def test_the_bootstrap_interval_covers_what_it_says(n, level):
    assert stats._tail(n, level) * stats.RESAMPLES >= stats.FEWEST_BEYOND
    parts = np.array_split(simulated(n, mean=0.3)[:, 0], 20)
    low, high = np.concatenate([stats._bootstrap(part, SEED, level) for part in parts]).T
    covered = np.mean((low <= 0.3) & (high >= 0.3))
    assert abs(covered - (1 - level)) <= 0.4 * level


def test_paired_takes_the_interval_that_covers():
    kinds = {n: stats.paired(np.arange(n), np.zeros(n), KEY)["interval"] for n in (5, 6, 20)}
    assert kinds == {5: "t", 6: "bootstrap", 20: "bootstrap"}
    wide = stats.paired(np.arange(8.0), np.zeros(8), KEY, level=0.05 / 4)
    assert wide["interval"] == "t"  # no resample lies that far out
    low, high = reference.t.interval(1 - 0.05 / 4, 7, loc=3.5, scale=reference.sem(np.arange(8.0)))
    np.testing.assert_allclose(wide["ci95"], [low, high])


@pytest.mark.parametrize("n", [6, 8, 20])
@pytest.mark.parametrize("shape", ["normal", "heavy-tailed"])
def test_the_permutation_test_errs_in_at_most_5_percent(n, shape):
    assert np.mean(p_values(simulated(n, shape=shape)) < 0.05) <= 0.05 + 0.006  # and 1.2 standard errors of 2,000 runs


def test_holm_over_six_arms_errs_in_at_most_5_percent_of_runs():
    p = p_values(simulated(10, arms=6))
    wrong = [min(stats.holm(dict(enumerate(row))).values()) < 0.05 for row in p]
    assert np.mean(wrong) <= 0.05
    assert np.mean((p < 0.05).any(axis=1)) > 0.1  # which unadjusted p-values would not hold


def test_looking_four_times_errs_in_at_most_5_percent_of_sweeps():
    looks = (7, 8, 10, 12)  # up to 12 pairs the test is exact and quick
    differences = simulated(12, arms=2)
    p = np.stack([p_values(differences[..., :n]) for n in looks], axis=1)  # [RUNS, looks, arms]
    adjusted = np.array([[min(stats.holm(dict(enumerate(look))).values()) for look in run] for run in p])
    assert np.mean((len(looks) * adjusted < 0.05).any(axis=1)) <= 0.05
    assert np.mean((adjusted < 0.05).any(axis=1)) > 0.06  # which looking without an adjustment would not hold


def test_the_same_key_gives_the_same_interval():
    a, b = np.arange(8.0), np.arange(8.0)[::-1] ** 1.1
    assert stats.paired(a, b, KEY) == stats.paired(a, b, KEY)
    assert stats.paired(a, b, KEY)["ci95"] != stats.paired(a, b, jax.random.key(1))["ci95"]


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="2 and 3"):
        stats.paired([1.0, 2.0], [1.0, 2.0, 3.0], KEY)


def row(seed: int, method: str, accuracy: float | None, failed: str | None = None) -> dict:
    return {
        "seed": seed,
        "method": method,
        "accuracy": accuracy,
        "recall_6": accuracy,
        "seconds": 10.0 + seed,
        "failed": failed,
        "confusion": None if accuracy is None else [[3, 1], [0, 4]],
        "counts_before": [9, 2],
        "counts_after": [9, 9],
        "source": "tfds",
        "digest": "abc",
    }


def test_results_and_comparisons_of_rows():
    rows = [row(1, "none", 0.8), row(0, "none", 0.7), row(0, "gan", 0.6), row(1, "gan", None, "NaN loss")]
    table = stats.results(rows)
    assert list(table) == ["none", "gan"]
    assert table["none"]["metrics"]["accuracy"]["mean"] == pytest.approx(0.75)
    assert table["none"]["seconds"] == 10.5 and table["none"]["gan_seconds"] is None
    assert table["none"]["confusion"] == [[6, 2], [0, 8]] and table["none"]["failed"] == 0
    assert table["gan"]["failed"] == 1 and table["gan"]["metrics"]["accuracy"]["n"] == 1
    assert table["gan"]["class_counts"] == {"before": [9, 2], "after": [9, 9]}
    assert set(table["gan"]["metrics"]) == {"accuracy", "recall_6"}
    against = stats.comparisons(rows, KEY)
    assert list(against) == ["gan"]
    assert against["gan"]["accuracy"]["mean"] == pytest.approx(-0.1) and against["gan"]["accuracy"]["n"] == 1
    assert stats.comparisons(rows[2:], KEY) == {}
    json.dumps([table, against], allow_nan=False)


def test_holm_on_numbers_worked_out_by_hand():
    adjusted = stats.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": None})
    assert adjusted == {"a": pytest.approx(0.03), "c": pytest.approx(0.06), "b": pytest.approx(0.06), "d": None}
    assert stats.holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize(
    ("name", "interval", "p", "said"),
    [
        ("accuracy", (0.01, 0.03), 0.01, "better"),
        ("ece", (0.01, 0.03), 0.01, "worse"),
        ("ece", (-0.03, -0.01), 0.01, "better"),
        ("accuracy", (-0.03, -0.01), 0.01, "worse"),
        ("accuracy", (0.01, 0.03), 0.06, "undecided"),
        ("accuracy", (-0.01, 0.03), 0.01, "undecided"),
        ("accuracy", (0.0005, 0.0015), 0.001, "equivalent"),
        ("accuracy", (-0.001, 0.001), 0.9, "equivalent"),
        ("accuracy", None, None, "undecided"),
    ],
)
def test_verdicts(name, interval, p, said):
    assert stats.verdict(name, interval, p) == said


def test_comparisons_are_adjusted_over_the_methods():
    gains = {"none": 0.0, "good": 0.1, "same": 0.0001}
    rows = [
        {"seed": seed, "method": method, "accuracy": 0.5 + gain + 0.001 * ((3 * seed) % 7) * (method != "none")}
        for method, gain in gains.items()
        for seed in range(8)
    ]
    found = stats.comparisons(rows, jax.random.key(0))
    good, same = found["good"]["accuracy"], found["same"]["accuracy"]
    assert good["verdict"] == "better" and good["p_holm"] == pytest.approx(2 * good["p"])
    assert good["effect"] == pytest.approx(good["mean"] / np.std([0.001 * ((3 * s) % 7) for s in range(8)], ddof=1))
    assert same["p_holm"] >= same["p"]


def sweep(gains: dict[str, float], seeds: int, noise: float = 0.002, point: str = "", first: int = 0) -> list[dict]:
    """Rows of a sweep whose true differences to the baseline are known."""
    rows = []
    for place, (method, gain) in enumerate(gains.items()):
        rng = np.random.default_rng(100 * place + first)
        for seed in range(seeds):
            accuracy = 0.9 + 0.001 * (seed % 5) + gain + (noise * rng.standard_normal() if gain else 0.0)
            rows.append({"seed": seed, "method": stats.at_point(method, point), "point": point, "accuracy": accuracy})
    return rows


def test_a_sweep_is_decided_when_every_verdict_is_clear():
    gains = {"none": 0.0, "good": 0.02, "bad": -0.02, "same": 0.0001}
    rows = sweep(gains, 16, noise=0.0005)
    history = interim.History(interim.Plan(16, power=1), {name: [4, 8, 12] for name in gains})  # a quarter for each
    assert stats.undecided(rows, KEY, "accuracy", history=history) == []
    assert stats.undecided(rows, KEY, "accuracy", methods=["new", "none"], history=history) == ["new"]
    assert stats.undecided(sweep(gains, 5, noise=0.0005), KEY, "accuracy") == ["good", "bad", "same"]  # too few pairs
    found = stats.comparisons(rows, KEY, history=history)
    assert [found[name]["accuracy"]["verdict"] for name in ("good", "bad", "same")] == ["better", "worse", "equivalent"]
    assert stats.undecided(rows[16:], KEY, "accuracy") == ["good", "bad", "same"]  # there is no baseline


def test_earlier_analyses_make_the_verdict_more_cautious():
    rows = sweep({"none": 0.0, "good": 0.02}, 8)
    plan = interim.Plan(8, power=1)
    histories = [None, interim.History(plan), interim.History(plan, {"good": [6]}), interim.History(plan, {"good": [7, 8, 9]})]
    alone, first, second, late = (stats.comparisons(rows, KEY, history=h)["good"]["accuracy"] for h in histories)
    for found, share in ((alone, 1), (first, 0.95), (second, 0.95 / 4), (late, 0.95 / 8)):
        assert found["share"] == pytest.approx(share)
        assert found["p_holm"] == pytest.approx(found["p"] / share) and found["p"] == alone["p"]
    assert late["ci95"][0] < second["ci95"][0] < alone["ci95"][0] and late["ci95"][1] > second["ci95"][1] > alone["ci95"][1]
    assert (alone["verdict"], second["verdict"], late["verdict"]) == ("better", "better", "undecided")
    assert late["reason"].startswith("no verdict possible with 8 seeds and 1 comparison after 1 earlier analysis: add --config")
    changed = interim.History(plan, {}, "no verdict: metric a became b")
    assert stats.comparisons(rows, KEY, history=changed)["good"]["accuracy"]["verdict"] == "none"


@pytest.mark.parametrize("plan", [interim.Plan(6), interim.Plan(48), interim.Plan(16, power=1)])
def test_all_analyses_together_use_no_more_than_the_error(plan):
    every = interim.History(plan, {"a": range(1, 500)})
    shares = [interim.share(n, "a", every) for n in range(1, 500)]
    assert min(shares) > 0 and sum(shares) == pytest.approx(interim.spending(499, plan)) and sum(shares) < 1
    assert sum(shares[: plan.seeds]) == pytest.approx(0.95)
    assert interim.share(plan.seeds, "a", interim.History(plan, {"a": [plan.seeds, 400]})) == pytest.approx(0.95)


@pytest.mark.parametrize(("tests", "seeds"), [(1, 6), (3, 7), (6, 8), (7, 9), (21, 10)])
def test_the_seeds_that_a_number_of_comparisons_needs(tests, seeds):
    """Holm over m tests of n pairs cannot come below 2 m / 2**n."""
    assert stats.seeds_needed(tests) == seeds
    assert 2 * tests / 2**seeds < 0.95 * 0.05 <= 2 * tests / 2 ** (seeds - 1)
    assert stats.possible(seeds, tests, 0.95) and not stats.possible(seeds - 1, tests, 0.95)
    assert stats.too_few(5, 6).endswith("with 5 seeds and 6 comparisons: add --config.seeds=8, same workdir")


@pytest.mark.parametrize("n", [13, 18])
def test_the_p_value_counts_every_sign_pattern(n):
    rng = np.random.default_rng(n)
    differences = np.stack([rng.normal(0.2, 1, n), rng.integers(-2, 3, n), np.zeros(n)])
    patterns = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    expected = [np.mean(np.abs(patterns @ d) >= abs(d.sum()) - 1e-9) for d in differences]
    np.testing.assert_allclose(stats._sign_flips(differences, SEED), expected)


def false_verdicts(sizes: list[int], plan: interim.Plan, arms: int = 1, adjusted: bool = True) -> float:
    """The share of experiments without any difference that get a 'better' or a 'worse' at one of the analyses."""
    differences = np.concatenate([simulated(max(sizes), arms=arms, seed=seed) for seed in range(20)])
    spent: list[int] = []
    wrong = np.zeros(len(differences), bool)
    for n in sizes:
        share = interim.share(n, "a", interim.History(plan, {"a": spent})) if adjusted else 1.0
        if stats.possible(n, arms, share):
            spent.append(n)
            part, level = differences[..., :n], 0.05 * share / arms  # of Holm's first step
            roughly = 2 * reference.norm.sf(np.abs(part.sum(-1)) / np.sqrt((part**2).sum(-1)))
            if not adjusted:  # for which the normal approximation will do
                wrong |= (roughly < level).any(axis=1)
                continue
            near = roughly < 4 * level + 1e-4  # the others are far from it
            for run, arm in np.argwhere(near & ~wrong[:, None]):
                wrong[run] |= stats._sign_flips(part[run, arm], SEED) < level
    return float(wrong.mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "plan", "arms", "unadjusted"),
    [
        ([6, 12, 24, 48], interim.Plan(6), 1, 0.11),
        ([6, 12, 24, 48], interim.Plan(6), 2, 0.07),
        ([8, 16, 24, 32, 40, 48, 56, 64], interim.Plan(16, power=1), 1, 0.12),  # 16, then 32, then 64, a rule after every 8
        (list(range(6, 49)), interim.Plan(6), 1, 0.2),
        (list(range(6, 49)), interim.Plan(48), 1, 0.2),
    ],
)
def test_analyses_of_growing_seeds_err_in_at_most_5_percent_of_experiments(sizes, plan, arms, unadjusted):
    found = false_verdicts(sizes, plan, arms)
    print(f"{arms} arms, {sizes}: {found:.4f}, unadjusted {(before := false_verdicts(sizes, plan, arms, False)):.4f}")
    assert found <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / (20 * RUNS)) and before > unadjusted  # and two standard errors


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [[6, 12, 24, 48], [8, 16, 32, 64]])
def test_equivalent_errs_in_at_most_5_percent_of_experiments(sizes):
    """The true difference is the margin; an interval within the margin at any of the analyses is an error."""
    margin = 0.8
    differences = simulated(max(sizes), mean=margin)[:, 0]
    history, wrong = interim.History(interim.Plan(sizes[0]), {"a": sizes}), np.zeros(RUNS, bool)
    for n in sizes:
        level = 0.05 * interim.share(n, "a", history)
        part = differences[:, :n]
        if stats._tail(n, level) * stats.RESAMPLES >= stats.FEWEST_BEYOND:
            low, high = np.concatenate([stats._bootstrap(piece, SEED, level) for piece in np.array_split(part, 20)]).T
        else:
            low, high = np.array([stats._t_interval(values, level) for values in part]).T
        wrong |= (-margin < low) & (high < margin)
    print(f"{sizes}: {wrong.mean():.4f}")
    assert wrong.mean() <= 0.05


def test_an_arm_is_paired_with_the_baseline_of_its_own_point():
    slow, fast = "classifier.learning_rate=0.001", "classifier.learning_rate=0.01"
    rows = sweep({"none": 0.0, "over": 0.02}, 8, point=slow) + sweep({"none": 0.3, "over": 0.29}, 8, point=fast)
    rows += sweep({"mixup": 0.5}, 8, point="no.baseline=here")
    found = stats.comparisons(rows, KEY)
    assert list(found) == [f"over [{slow}]", f"over [{fast}]"]
    assert found[f"over [{slow}]"]["accuracy"]["mean"] == pytest.approx(0.02, abs=0.003)
    assert found[f"over [{fast}]"]["accuracy"]["mean"] == pytest.approx(-0.01, abs=0.003)
    assert stats.off_point(rows[0]) == "none" and stats.off_point({"method": "over | affine"}) == "over | affine"


def test_the_baseline_at_a_point_is_paired_with_the_one_at_none():
    more = "gan.d_steps=2"
    rows = sweep({"gan_synth": 0.1, "over": 0.2}, 8) + sweep({"gan_synth": 0.15, "over": 0.3}, 8, point=more)
    found = stats.comparisons(rows, KEY, "gan_synth")
    assert list(found) == ["over", f"gan_synth [{more}]", f"over [{more}]"]
    means = [figures["accuracy"]["mean"] for figures in found.values()]
    np.testing.assert_allclose(means, [0.1, 0.05, 0.15], atol=0.004)
    assert set(stats.undecided(rows[:1], KEY, "accuracy", methods=list(found), baseline="gan_synth")) == set(found)


@pytest.mark.parametrize(
    ("mine", "theirs", "words"),
    [
        ({"steps": 996}, {"steps": 996}, None),
        ({"steps": 1380}, {"steps": 996}, "trained 1,380 and 996 steps"),
        ({"steps": 996, "gan_steps": 300}, {"steps": 996, "gan_steps": 90}, "GANs trained 300 and 90 steps"),
        ({"steps": 996, "gan_steps": 300}, {"steps": 996}, None),  # a GAN against none: its cost says so
    ],
)
def test_arms_of_unequal_length_get_no_verdict_unless_asked_for(mine, theirs, words):
    rows = [{**row(s, "none", 0.5 + s / 1e4), **theirs} for s in range(12)]
    rows += [{**row(s, "mixup", 0.8 + s / 1e4 + (s % 3) / 1e3), **mine} for s in range(12)]
    found = stats.comparisons(rows, KEY, metrics=("accuracy",))["mixup"]["accuracy"]
    assert found["reason"] == words if words else found["verdict"] == "better"
    asked = stats.comparisons(rows, KEY, metrics=("accuracy",), unequal_steps=True)["mixup"]["accuracy"]
    assert asked["verdict"] == "better"


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_power_of_a_paired_comparison(effect, n):
    """The published numbers of pairs for 0.8 at 5 % two-sided (G*Power 3, 'difference between two dependent means')."""
    several = np.arange(2, 300)
    found = stats.power(effect, several, np.full(several.size, 0.05))
    assert several[found >= 0.8][0] == n
    t = reference.t.ppf(0.975, n - 1)
    simulated = np.random.default_rng(0).normal(effect, 1.0, (40_000, n))
    drawn = np.abs(simulated.mean(1) / simulated.std(1, ddof=1) * np.sqrt(n)) > t
    assert found[n - 2] == pytest.approx(drawn.mean(), abs=0.01)


def test_seeds_needed_at_the_spread_seen():
    wide = np.array([0.0, 0.02, 0.04])  # mean and standard deviation 0.02: d = 1
    by_formula = next(  # Bonferroni over four tests, 95 % of the error
        n for n in range(2, 99) if reference.nct.sf(reference.t.isf(0.05 * 0.95 / 4 / 2, n - 1), n - 1, np.sqrt(n)) >= 0.8
    )
    assert stats.pairs_needed(wide, 4) == by_formula == 15
    assert stats.pairs_needed(wide - 0.02, 4, margin=0.02) == by_formula  # no effect seen: that of the margin
    assert stats.pairs_needed(-wide, 4, margin=0.001) == by_formula
    assert stats.pairs_needed(wide / 1e9 + 0.3, 4) == stats.seeds_needed(4)  # all alike: the sign flips are the limit
    assert stats.pairs_needed(wide - 0.02, 4, margin=1e-6) is None
    planned = interim.History(interim.Plan(40))
    assert stats.pairs_needed(wide, 4, history=planned) > by_formula  # less of the error may be used before the plan's end
