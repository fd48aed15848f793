"""The VAE of Burda, Grosse and Salakhutdinov (ICLR 2016) on binarised MNIST: 784-200-200-50, one stochastic layer.

Protocol: the official split. Pixels are made binary once, before training, each with its grey value as probability, from a
fixed seed (``--binarise sample``, the "static" binarisation of the literature), or by a threshold of one half. The number is
the negative log-likelihood of the 10,000 test images in nats, by importance weighting with 5000 samples per image. Published
for this network: 88.71 with one fixed binarisation (the paper's appendix), 86.76 with new draws in every epoch, both trained
for 3280 epochs. Numbers of the two binarisations cannot be compared with each other: a threshold leaves less to explain.

Ours is VAETransformer of the given settings. Training runs to the last epoch on all 60,000 images; ``--early-stopping`` holds
a tenth out to choose the epoch. ``--test-rows`` weighs so many random test images only, ``--rows`` trains on fewer images,
both to try out. ``--figure`` shows test images, their reconstructions and samples.
"""

import argparse
from pathlib import Path

import numpy as np

import data
from images import add_training_options, draw_strips, one_of_each, parameters, settings
from report import Rows, begin, parser, say, say_table, timed
from skvae import VAETransformer

CODE_SIZE = 50
PUBLISHED = {"Burda et al. 2016, static": 88.71, "Burda et al. 2016, dynamic": 86.76}


def binarise(images: np.ndarray, how: str, seed: int) -> np.ndarray:
    if how == "threshold":
        return (images > 0.5).astype(np.float32)
    return (np.random.default_rng(seed).random(images.shape, dtype=np.float32) < images).astype(np.float32)


def autoencoder(args: argparse.Namespace) -> VAETransformer:
    own = {"n_importance_samples": args.samples, "likelihood": "bernoulli", "beta_warmup": args.beta_warmup}
    return VAETransformer(CODE_SIZE, **own, **parameters(args))


def options() -> argparse.ArgumentParser:
    result = parser(__doc__, hidden=(16,), epochs=2, samples=10)
    data.add_options(result, sets=False)
    add_training_options(result, hidden=(200, 200), epochs=60, batch_size=100, lr=2e-3, early_stopping=False)
    result.add_argument("--binarise", default="sample", choices=("sample", "threshold"))
    result.add_argument("--beta-warmup", type=int, default=0, metavar="EPOCHS")
    result.add_argument("--samples", type=int, default=5000, help="importance samples per test image; default 5000")
    result.add_argument("--test-rows", type=int, metavar="N", help="random test images; all where left out")
    result.add_argument("--figure", type=Path, metavar="FILE.png", help="draw images, reconstructions and samples")
    return result


def main() -> None:
    args = options().parse_args()
    begin(args)
    train, test, digits = data.mnist(args.data)
    train = binarise(np.random.default_rng(args.seed).permutation(train)[: args.rows], args.binarise, args.seed)
    order = np.random.default_rng(args.seed).permutation(len(test))  # the file may be sorted by digit
    test, digits = binarise(test, args.binarise, args.seed + 1)[order], digits[order]
    say(f"training with {settings(args)}")
    model, seconds = timed(lambda: autoencoder(args).fit(train))
    say(f"{seconds / 60:.1f} minutes, best epoch {model.best_iter_} of {model.n_iter_} on {model.device_}")
    weighed = test[: args.test_rows]
    bound = model.elbo(weighed[:1000])
    score, score_seconds = timed(lambda: model.score(weighed))
    result = {
        "nll": -score,
        "minutes": seconds / 60,
        "minutes_score": score_seconds / 60,
        "active": int(model.active_units_.sum()),
    }
    result |= {"reconstruction": float(bound.reconstruction.mean()), "kl": float(bound.kl.mean())}
    Rows(args.json).add(settings(args) | result | {"ran_on": str(model.device_)})
    say(f"of 1000 test images: reconstruction {bound.reconstruction.mean():.2f}, KL {bound.kl.mean():.2f}")
    say(f"{result['active']} active units")
    minutes = f"{result['minutes']:.1f} + {result['minutes_score']:.1f}"
    lines = [["skvae", args.epochs, f"{result['nll']:.2f}", minutes]]
    lines += [[name, 3280, f"{nll:.2f}", ""] for name, nll in PUBLISHED.items()]
    say_table(["model", "epochs", "negative log-likelihood, nats", "minutes to train + to weigh"], lines)
    if args.figure:
        shown = test[one_of_each(digits)]
        samples = model.sample(10, 0, noise=False)
        draw_strips({"original": shown, "reconstruction": model.reconstruct(shown), "sample": samples}, args.figure)


if __name__ == "__main__":
    main()
