"""Fits by several processes of a torch.distributed group."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch.distributed as dist
from sklearn import config_context
from sklearn.datasets import load_digits, load_wine

from skvae import AEAnomalyDetector, AutoencoderTransformer, VAETransformer, distributed
from skvae.core.ranks import Ranks

WINE = load_wine().data
DIGITS = load_digits().data
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
ROOT = Path(__file__).parent.parent

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:You are using a Backend:UserWarning"),
]


@pytest.fixture
def group():
    """Of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def in_two_processes(tmp_path, code):
    """What each of two processes, which torchrun starts, writes as JSON."""
    script = tmp_path / "script.py"
    before = """
        import json, sys, warnings
        from pathlib import Path
        import numpy as np
        import pandas as pd
        import torch.distributed as dist
        from sklearn.datasets import load_digits, load_wine
        from skvae import AutoencoderTransformer, VAETransformer, distributed
        warnings.simplefilter("ignore")
        dist.init_process_group("gloo")
        rank, found = dist.get_rank(), {}
    """
    after = f"""
        Path({str(tmp_path)!r}, f"{{rank}}.json").write_text(json.dumps(found))
        dist.destroy_process_group()
    """
    script.write_text("".join(map(textwrap.dedent, (before, code, after))), encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(launcher, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


# A group of one process


def blockwise(X, **params):
    with config_context(working_memory=1e-3):
        return AutoencoderTransformer(2, **QUICK | params).fit(X)


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("likelihood", ["auto", "gaussian"])
def test_one_process_fits_like_one_without_a_group(likelihood):
    one = distributed.fit(AutoencoderTransformer(2, likelihood=likelihood, **QUICK), DIGITS)
    other = blockwise(DIGITS, likelihood=likelihood)
    np.testing.assert_array_equal(one.transform(DIGITS), other.transform(DIGITS))
    assert one.validation_scores_ == other.validation_scores_


@pytest.mark.usefixtures("group")
def test_frames_are_read_where_they_are():
    frame = load_wine(as_frame=True).frame.astype({"target": "category"})
    model = distributed.fit(AutoencoderTransformer(2, **QUICK), frame)
    assert model.schema_.columns[-1].kind == "category"
    assert list(model.feature_names_in_) == list(frame.columns)
    assert model.reconstruct(frame).dtypes.equals(frame.dtypes)


@pytest.mark.usefixtures("group")
def test_weights_and_rows_to_judge_by():
    weights = np.arange(len(DIGITS)) % 3
    one = distributed.fit(VAETransformer(2, **QUICK), DIGITS, weights, DIGITS[:50], np.ones(50))
    with config_context(working_memory=1e-3):
        other = VAETransformer(2, **QUICK).fit(DIGITS, None, weights, DIGITS[:50], np.ones(50))
    np.testing.assert_array_equal(one.transform(DIGITS), other.transform(DIGITS))


@pytest.mark.usefixtures("group")
def test_parameters_are_left_as_they_were():
    state = np.random.RandomState(0)
    model = distributed.fit(AutoencoderTransformer(2, **QUICK | {"random_state": state}), WINE)
    assert model.random_state is state


@pytest.mark.usefixtures("group")
def test_a_warm_start_goes_on():
    model = distributed.fit(AutoencoderTransformer(2, warm_start=True, **QUICK), WINE)
    before = list(model.loss_curve_)
    distributed.fit(model, WINE)
    assert model.loss_curve_[: len(before)] == before
    assert len(model.loss_curve_) > len(before)


# Refusals


def test_without_a_group_there_is_nothing_to_fit_by():
    with pytest.raises(RuntimeError, match=r"There is no torch\.distributed group"):
        distributed.fit(AutoencoderTransformer(2), WINE)


@pytest.mark.usefixtures("group")
def test_a_detector_is_fitted_by_one_process():
    with pytest.raises(TypeError, match="AEAnomalyDetector cannot be fitted by several processes"):
        distributed.fit(AEAnomalyDetector(), WINE)


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("X", [WINE[:0], pd.DataFrame(WINE[:0])], ids=["array", "frame"])
def test_no_rows(X):
    with pytest.raises(ValueError, match="X has no rows in this process"):
        distributed.fit(AutoencoderTransformer(2), X)


@pytest.mark.usefixtures("group")
def test_what_fails_leaves_an_earlier_fit_intact():
    model = distributed.fit(AutoencoderTransformer(2, **QUICK), WINE)
    before = model.transform(WINE)
    with pytest.raises(ValueError, match="contains infinity"):
        distributed.fit(model, np.where(np.arange(13) == 3, np.inf, WINE))
    np.testing.assert_array_equal(model.transform(WINE), before)
    assert model.random_state == 0


@pytest.mark.usefixtures("group")
def test_ranks_of_one_process():
    ranks = Ranks()
    assert (ranks.rank, ranks.size) == (0, 1)
    assert ranks.gathered("own") == ["own"]
    assert ranks.of_first({"own": 1}) == {"own": 1}
    with pytest.raises(KeyError):
        ranks.together(lambda: {}["missing"])


# Two processes


def test_two_processes_have_one_model(tmp_path):
    first, second = in_two_processes(
        tmp_path,
        """
        X = load_digits().data
        frame = load_wine(as_frame=True).frame
        frame["target"] = frame["target"].map({0: "low", 1: "middle", 2: "high"}).astype("category")
        whole = frame.assign(target="low")
        frame = frame.sort_values("target").iloc[rank * 89 : (rank + 1) * 89]
        frame["target"] = frame["target"].cat.remove_unused_categories()

        def scores(model, part, X, **options):
            model = distributed.fit(model, part, **options)
            return [model.score_samples(X).sum(), *model.loss_curve_, *(model.validation_scores_ or [])]

        quick = {"hidden_layer_sizes": (8,), "max_iter": 3}
        part = X[:1000] if rank == 0 else X[1000:]
        found["digits"] = scores(AutoencoderTransformer(2, random_state=0, **quick), part, X)
        found["again"] = scores(AutoencoderTransformer(2, random_state=0, **quick), part, X)
        found["no seed"] = scores(VAETransformer(2, **quick), part, X)
        found["linear"] = scores(AutoencoderTransformer(2, hidden_layer_sizes=()), part, X)
        holes = np.where(np.random.default_rng(rank).random(part.shape) < 0.1, np.nan, part)
        found["holes"] = scores(AutoencoderTransformer(2, hidden_layer_sizes=(), random_state=0, max_iter=3), holes, X)
        mixed = AutoencoderTransformer(2, random_state=0, **quick)
        found["frame"] = scores(mixed, frame, whole)
        found["levels"] = list(mixed.schema_.columns[-1].levels)

        def refusal(part, **options):
            try:
                distributed.fit(AutoencoderTransformer(2, random_state=0, **quick), part, **options)
            except ValueError as error:
                return str(error)

        found["infinity"] = refusal(np.where((np.arange(len(part)) == 700 * rank)[:, None] & (rank == 1), np.inf, part))
        found["columns"] = refusal(part[:, rank:])
        found["weights"] = refusal(part, sample_weight=None if rank else np.ones(len(part)))
        found["no rows"] = refusal(part[: 1000 * rank])
        """,
    )
    assert "Input X contains infinity: first in row 700 of column 0" in second["infinity"]
    assert first["infinity"].startswith("Rank 1 failed. ValueError: In block 0 of X")
    assert "expecting 64 features" in second["columns"]
    assert first["no rows"].startswith("X has no rows in this process")
    assert second["no rows"].startswith("Rank 0 failed.")
    assert first["weights"] == second["weights"]
    assert "pass it in all or in none" in first["weights"]
    for name in ("digits", "no seed", "linear", "holes", "frame"):
        assert first[name] == second[name], name
    assert first["again"] == first["digits"]
    assert first["levels"] == ["high", "low", "middle"]
    linear = AutoencoderTransformer(2, hidden_layer_sizes=()).fit(DIGITS)
    assert first["linear"][0] == pytest.approx(linear.score_samples(DIGITS).sum(), rel=1e-9)
    one = blockwise(DIGITS)
    assert first["digits"][4] == pytest.approx(one.validation_scores_[0], rel=1e-6)  # the same rows are held out
