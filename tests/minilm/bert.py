"""Sentence embeddings of a BERT encoder in numpy: WordPiece tokens, the encoder, the mean over tokens."""

import math
import unicodedata

import numpy as np

F32 = np.float32


def _erf(x):
    """The error function to 1.5e-7: formula 7.1.26 of Abramowitz and Stegun."""
    t = 1 / (1 + F32(0.3275911) * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1 - series * np.exp(-(x**2)))


class Tokenizer:
    """WordPiece over a vocabulary of lower-case pieces."""

    def __init__(self, vocabulary):
        self.ids = {piece: i for i, piece in enumerate(vocabulary.read_text(encoding="utf-8").splitlines())}

    def __call__(self, text):
        pieces = [piece for word in _words(text) for piece in self._pieces(word)]
        return [self.ids[piece] for piece in ("[CLS]", *pieces, "[SEP]")]

    def _pieces(self, word):
        pieces, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if mark + word[start:end] in self.ids)
            end = next(ends, None)
            if end is None:
                return ["[UNK]"]
            pieces.append(mark + word[start:end])
            start = end
        return pieces


def _words(text):
    """Lower-case words without accents; punctuation stands alone."""
    plain = (c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    spaced = (f" {c} " if unicodedata.category(c).startswith("P") or c in "$+<=>^`|~" else c for c in plain)
    return "".join(spaced).split()


class Encoder:
    """The weights of a BERT model by name, as F32, and its config."""

    def __init__(self, weights, config):
        self.weights, self.config = weights, config

    def embed(self, ids):
        """The mean of the last layer over all tokens, of length 1."""
        weights = self.weights
        states = (
            weights["embeddings.word_embeddings.weight"][ids]
            + weights["embeddings.position_embeddings.weight"][: len(ids)]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        states = self._norm(states, "embeddings.LayerNorm")
        for i in range(self.config["num_hidden_layers"]):
            states = self._layer(states, f"encoder.layer.{i}")
        mean = states.mean(0)
        return mean / np.linalg.norm(mean)

    def _linear(self, values, name):
        return values @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, values, name):
        centered = values - values.mean(-1, keepdims=True)
        scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + F32(self.config["layer_norm_eps"]))
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _layer(self, states, name):
        heads = self.config["num_attention_heads"]
        split = {
            part: self._linear(states, f"{name}.attention.self.{part}").reshape(len(states), heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        }
        scores = split["query"] @ split["key"].swapaxes(1, 2) / F32(math.sqrt(split["key"].shape[-1]))
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        attended = (shares @ split["value"]).swapaxes(0, 1).reshape(states.shape)
        attended = self._linear(attended, f"{name}.attention.output.dense")
        states = self._norm(states + attended, f"{name}.attention.output.LayerNorm")
        inner = self._linear(states, f"{name}.intermediate.dense")
        inner = inner * (1 + _erf(inner / F32(math.sqrt(2)))) / 2
        return self._norm(states + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
