"""The torch engine under the estimators: networks, likelihoods, the objective and the training loop.

Everything here is an ordinary ``nn.Module``, a frozen dataclass or a function; nothing here knows scikit-learn, numpy or a
data frame.
"""
