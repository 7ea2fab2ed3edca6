"""The LSTM is the usual one written out; its regularisers act in training, on each example, and as a loss would."""

import calendar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibo_jax.bilevel import hypernetwork
from ibo_jax.problems.text import text_problem
from ibo_jax.training.layers import dropout, scale_noise
from ibo_jax.training.networks import as_network
from ibo_jax.training.recurrent import CharacterLSTM
from ibo_jax.training.text import windows

TEXT = jax.random.randint(jax.random.key(0), (3, 5), 0, 7).astype(jnp.float32)


def started(**rates):
    network = as_network(CharacterLSTM(7, units=4, layers=2, **rates))
    return network, network.init(jax.random.key(1), TEXT)


def written_out(params, text):
    x = np.asarray(params["embed"]["kernel"], np.float64)[np.asarray(text, int)]
    sigmoid = lambda values: 1 / (1 + np.exp(-values))  # noqa: E731
    for layer in range(2):
        enter, recur = params[f"input_{layer}"], params[f"recurrent_{layer}"]["state"]["kernel"]
        cell = state = np.zeros((3, 4))
        outputs = []
        for time in range(5):
            gates = x[:, time] @ np.asarray(enter["kernel"]) + np.asarray(enter["bias"]) + state @ np.asarray(recur)
            i, f, g, o = np.split(gates, 4, -1)
            cell = sigmoid(f + 1) * cell + sigmoid(i) * np.tanh(g)
            state = sigmoid(o) * np.tanh(cell)
            outputs.append(state)
        x = np.stack(outputs, 1)
    return x, x @ np.asarray(params["output"]["kernel"]) + np.asarray(params["output"]["bias"])


def test_it_is_the_lstm_written_out():
    network, params = started()
    logits = network.apply(params, TEXT, train=False, key=None)
    np.testing.assert_allclose(logits, written_out(params, TEXT)[1], rtol=1e-4, atol=1e-5)
    trained, penalty = network.apply(params, TEXT, train=True, key=jax.random.key(0))
    np.testing.assert_allclose(trained, logits, rtol=1e-5)
    np.testing.assert_array_equal(penalty, 0)


def test_activation_regularisers_are_those_of_the_last_outputs_of_each_example():
    network, params = started(activity=jnp.array([2.0, 0.0, 0.5]), change=3.0)
    x = written_out(params, TEXT)[0]
    expected = np.array([2, 0, 0.5]) * np.mean(x**2, (1, 2)) + 3 * np.mean(np.diff(x, axis=1) ** 2, (1, 2))
    _, penalty = network.apply(params, TEXT, train=True, key=jax.random.key(0))
    np.testing.assert_allclose(penalty, expected, rtol=1e-4)


def test_dropout_of_the_outputs_comes_before_the_punished_activity_and_after_the_punished_change():
    def penalty(**rates):
        network = as_network(CharacterLSTM(7, units=4, **rates))
        return network.apply(network.init(jax.random.key(1), TEXT), TEXT, train=True, key=jax.random.key(0)).penalty

    np.testing.assert_array_equal(penalty(change=3.0, dropout_output=0.5), penalty(change=3.0))
    assert not np.any(penalty(activity=2.0, dropout_output=1.0))


def test_a_rate_for_each_example_and_masks_that_stay_over_time():
    inputs, rates = jnp.ones((3, 40, 50)), jnp.array([0.0, 0.5, 0.9])
    dropped = np.asarray(dropout(jax.random.key(0), inputs, rates, whole=True))
    np.testing.assert_array_equal(dropped, dropped[:, :1] * np.ones_like(dropped))
    np.testing.assert_array_equal(dropped[0], 1)
    assert set(np.unique(dropped[1])) == {0, 2}
    free = np.asarray(dropout(jax.random.key(0), inputs, rates))
    np.testing.assert_allclose((free == 0).mean((1, 2)), rates, atol=0.05)  # 2,000 draws each
    noisy = np.asarray(scale_noise(jax.random.key(0), jnp.ones((900, 2)), jnp.repeat(jnp.array([0.0, 0.25, 1.0]), 300)))
    np.testing.assert_array_equal(noisy[:, 0], noisy[:, 1])
    ends = np.array([(part.min(), part.max()) for part in np.split(noisy, 3)])
    np.testing.assert_allclose(ends, [[1, 1], [0.8, 1.25], [0.5, 2]], atol=0.02)


def test_text_is_cut_into_windows_with_the_next_character_as_label(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abcd" * 100)
    data = windows(path, length=6, characters=100)
    assert [len(part) for part in (data.train_labels, data.valid_labels, data.test_labels)] == [16, 3, 3]
    assert data.num_classes == 4
    np.testing.assert_array_equal(data.train_labels, (data.train_inputs + 1) % 4)
    np.testing.assert_array_equal(data.train_inputs[1], [2, 3, 0, 1, 2, 3])
    assert len(windows(path, length=6).train_labels) == 59
    with pytest.raises(ValueError, match="at least one window of 30"):
        windows(path, length=30)
    with pytest.raises(ValueError, match="at least one character, got length=0"):
        windows(path, length=0)
    path.write_bytes("gar\u00e7on".encode("latin1"))
    with pytest.raises(ValueError, match=f"{path}: expected a text in UTF-8"):
        windows(path)


def test_a_window_of_one_character_has_no_change_to_punish():
    network, params = started(activity=0.5, change=3.0)
    short, activity = network.apply(params, TEXT[:, :1], train=True, key=jax.random.key(0))
    np.testing.assert_allclose(activity, 0.5 * np.mean(written_out(params, TEXT)[0][:, 0] ** 2, 1), rtol=1e-4)
    assert short.shape == (3, 1, 7)


def test_a_text_is_learnt_in_either_precision_mode():
    with jax.enable_x64(True):
        problem = text_problem(calendar.__file__, length=8, characters=2000, units=4, epochs=1)
        hyperparameters = dict.fromkeys(problem.space.names, 0.1)
        double = problem.evaluate(0, hyperparameters, 1)
        hypernetwork.tuner(problem)
    assert double.error == problem.evaluate(0, hyperparameters, 1).error
