"""Network Turbo-VBI beside a training loop."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from sparsetheory.gpu.bayesian import BayesConv2d, NetworkTurboVBI, WeightGrid, bayesianise, sampling
from sparsetheory.gpu.core import attach_state, class_loss, train

pytestmark = pytest.mark.filterwarnings("ignore:every weight of layer:RuntimeWarning")
STEPS = {"warmup_steps": 4, "anneal_steps": 8, "update_every": 2}


def _model(device="cpu", dtype=torch.float32):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    return bayesianise(model, 1.0, mu_std="fan_in", sigma_init=(0.05, 0.0), generator=1).to(device, dtype)


def _adam(model, rho_lr=2.0):
    rho = [value for name, value in model.named_parameters() if name.endswith("rho")]
    rest = [value for name, value in model.named_parameters() if not name.endswith("rho")]
    return torch.optim.Adam([{"params": rest}, {"params": rho, "lr": rho_lr}], lr=0.02)


def _data(device="cpu", dtype=torch.float32):
    source = torch.Generator().manual_seed(5)
    x = torch.randn(20, 6, generator=source)
    return x.to(device, dtype), (x[:, 0] > 0).long().to(device)


def _steps(model, optimizer, turbo, n, device="cpu"):
    x, y = _data(device, next(model.parameters()).dtype)
    with sampling(model, "mean"):
        for _ in range(n):
            optimizer.zero_grad()
            (class_loss(model(x), y) + turbo.penalty()).backward()
            optimizer.step()


def test_it_follows_the_schedule(device):
    model = _model(device)
    optimizer = _adam(model)
    turbo = NetworkTurboVBI(model, optimizer, n_samples=20, **STEPS)
    prior = turbo.priors["0"]
    assert prior.expected_precisions == pytest.approx(6.0)
    # The rate that gives the slab times the density the variance of the warm-up: density 0.2, 6 inputs.
    assert prior.on_rate == pytest.approx(1 / (0.2 * 6))
    rates = []
    for _ in range(14):
        _steps(model, optimizer, turbo, 1, device)
        rates.append(prior.factors.off_rate / prior.on_rate)
        # Precisions are known until the first update.
        assert (prior.factors.precisions is None) == (turbo.n_steps < 6)
    # Updates after steps 6, 8 and so on.
    expected = [1.0] * 5 + [1e-3 ** (step / 4) for step in (1, 1, 2, 2, 3, 3, 4, 4, 4)]
    assert rates == pytest.approx(expected, rel=1e-12)
    assert turbo.n_steps == 14


def test_the_penalty_is_the_divergence_in_units_of_a_sample(device):
    model = _model(device)
    optimizer = _adam(model)
    turbo = NetworkTurboVBI(model, optimizer, n_samples=20, temperature=0.3, **STEPS)
    for n in (0, 3, 5):
        _steps(model, optimizer, turbo, n, device)
        if turbo.n_steps >= 4:
            turbo.update()
        assert float(turbo.penalty().detach()) == pytest.approx(0.3 / 20 * float(turbo.kl().detach()), rel=1e-5)
    _steps(model, optimizer, turbo, 1, device)
    # With factors of older weights it is larger.
    assert float(turbo.penalty().detach()) > 0.3 / 20 * float(turbo.kl().detach())
    assert turbo.report().kl == pytest.approx(float(turbo.penalty().detach()) * 20 / 0.3, rel=1e-5)


def test_in_the_warm_up_the_divergence_is_that_from_a_normal_law():
    model = _model()
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, **STEPS)
    expected = model[0].kl(6**-0.5) + model[2].kl(5**-0.5)
    assert float(turbo.kl().detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert turbo.masks().density == 1.0
    assert turbo.certificate().status == "not applicable"


def test_gradients_of_both_are_those_of_frozen_precisions():
    model = _model(dtype=torch.float64)
    optimizer = _adam(model)
    turbo = NetworkTurboVBI(model, optimizer, n_samples=20, **STEPS)
    _steps(model, optimizer, turbo, 9)
    turbo.update()
    layer = model[0]
    frozen = torch.from_numpy(turbo.priors["0"].expected_precisions)
    sigma = layer.sigma.detach()
    for value, scale in ((turbo.kl(), 1.0), (turbo.penalty(), 1 / 20)):
        by_mean, by_rho = torch.autograd.grad(value, (layer.weight, layer.rho))
        torch.testing.assert_close(by_mean, scale * frozen * layer.weight.detach())
        slope = torch.sigmoid(layer.rho.detach())
        torch.testing.assert_close(by_rho, scale * (frozen * sigma - 1 / sigma) * slope)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_supports_are_computed_in_double_precision_from_the_weights(dtype):
    model = _model(dtype=dtype)
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, **STEPS)
    turbo.update()
    sigma = np.logaddexp(0.0, model[0].rho.detach().double().numpy())
    second = model[0].weight.detach().double().numpy() ** 2 + sigma**2
    again = copy.copy(turbo.priors["0"]).fitted(second, turbo.off_rate("0"))
    np.testing.assert_allclose(turbo.priors["0"].expected_precisions.ravel(), again.expected_precisions, rtol=1e-14)
    assert turbo.penalty().dtype == torch.promote_types(dtype, torch.float32)


@pytest.mark.parametrize("factorisation", ["collapsed", "meanfield"])
@pytest.mark.parametrize("prior", ["chain_rows", "chain_columns", "group_outputs", "group_inputs", "grid_mean_field"])
def test_certificates_hold_after_an_update_and_break_with_the_weights(prior, factorisation):
    model = _model()
    optimizer = _adam(model)
    turbo = NetworkTurboVBI(model, optimizer, n_samples=20, prior=prior, factorisation=factorisation, **STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        _steps(model, optimizer, turbo, 20)
    for _ in range(200):
        turbo.update()
    certificate = turbo.certificate()
    assert certificate.valid, certificate.reason
    assert certificate.check(model).measured == certificate.measured
    with torch.no_grad():
        model[2].weight[0, 0] += 0.5
    broken = certificate.check(model)
    assert not broken.valid
    assert "moves by more" in broken.reason


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["weight", "rho"])
@pytest.mark.parametrize("layer", [0, 2])
def test_a_certificate_is_not_valid_where_weights_are_not_finite(layer, part, value):
    model = _model()
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, **STEPS)
    turbo.update()
    certificate = turbo.certificate()
    with torch.no_grad():
        getattr(model[layer], part)[0, 0] = value
    for broken in (certificate.check(model), turbo.certificate()):
        assert broken.status == "invalid"
        assert f"layer '{layer}' has means or deviations that are not finite" in broken.reason
        assert np.isnan(broken.measured)


def test_an_update_that_fails_leaves_all_layers_as_they_were():
    model = _model()
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, **STEPS)
    turbo.update()
    before = {name: prior.factors for name, prior in turbo.priors.items()}
    with torch.no_grad():
        model[0].weight.mul_(2.0)
        model[2].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="model must have finite means and deviations; got others in layer '2'"):
        turbo.update()
    assert {name: prior.factors for name, prior in turbo.priors.items()} == before


def test_a_certificate_is_checked_on_models():
    model = _model()
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, **STEPS)
    turbo.update()
    with pytest.raises(ValueError, match=r"model must be a torch.nn.Module; got 'network'"):
        turbo.certificate().check("network")
    with pytest.raises(ValueError, match="tol must be"):
        turbo.certificate(-1.0)


def test_a_false_divergence_is_found():
    from dataclasses import replace

    model = _model()
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, **STEPS)
    turbo.update()
    certificate = turbo.certificate()
    layers = dict(certificate.layers)
    layers["0"] = replace(layers["0"], kl=layers["0"].kl + 1e-4)
    assert "divergence of layer '0'" in replace(certificate, layers=layers).check(model).reason
    with pytest.raises(ValueError, match="model must have normal weights in layer '0'; got Linear"):
        certificate.check(turbo.export())


def test_sum_product_has_no_certificate():
    model = _model()
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, prior="grid_belief_propagation", **STEPS)
    turbo.update()
    assert turbo.certificate().status == "not applicable"


def test_the_exported_network_has_plain_layers_and_no_hooks():
    model = _model()
    optimizer = _adam(model)
    turbo = NetworkTurboVBI(model, optimizer, n_samples=20, dead_inputs="off", **STEPS)
    _steps(model, optimizer, turbo, 14)
    with torch.no_grad():
        model[0].weight[:, :3] *= 1e-3
        model[0].rho[:, :3] = -9.0
    turbo.update()
    plain = turbo.export()
    assert [type(part) for part in plain] == [nn.Linear, nn.Tanh, nn.Linear]
    assert not plain[0]._forward_pre_hooks
    masks = turbo.masks()
    for name in ("0", "2"):
        layer, like = plain.get_submodule(name), model.get_submodule(name)
        assert torch.equal(layer.weight, torch.where(masks[f"{name}.weight"], like.weight, 0.0))
        assert torch.equal(layer.bias, like.bias)
        assert layer.weight.data_ptr() != like.weight.data_ptr()
    assert 0 < masks.density < 1


def test_a_model_that_is_one_layer_has_a_weight_without_prefix():
    model = bayesianise(nn.Linear(6, 3), 1.0, generator=0)
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, **STEPS)
    turbo.update()
    assert list(turbo.masks()) == ["weight"]
    assert type(turbo.export()) is nn.Linear


def test_a_convolution_is_pruned_by_whole_filters():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    bayesianise(model, 1.0, mu_std="fan_in", sigma_init=(0.05, 0.0), generator=0)
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=8, prior={"0": "group_outputs", "3": "chain_rows"}, **STEPS)
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].weight[1:3] = 1e-3
        model[0].rho[1:3] = -9.0
    turbo.n_steps = 12
    turbo.update()
    mask = turbo.masks()["0.weight"]
    assert mask.flatten(1).all(1).tolist() == [True, False, False, True]
    assert mask.flatten(1).any(1).tolist() == [True, False, False, True]
    x = torch.randn(3, 2, 4, 4)
    with torch.no_grad(), sampling(model, "mean"):
        model[0].weight *= mask
        model[3].weight *= turbo.masks()["3.weight"]
        assert torch.equal(turbo.export()(x), model(x))
    report = turbo.report().layers[0]
    assert (report.output_density, report.input_density, report.grid_shape) == (0.5, 1.0, (1, 4))


def test_a_run_is_continued_exactly(tmp_path):
    def run(stop):
        model = _model()
        optimizer = _adam(model)
        turbo = NetworkTurboVBI(model, optimizer, n_samples=20, dead_inputs="off", **STEPS)
        attach_state(optimizer, turbo=turbo)
        _steps(model, optimizer, turbo, stop)
        return model, optimizer, turbo

    whole, optimizer, turbo = run(7)
    torch.save([whole.state_dict(), optimizer.state_dict()], tmp_path / "run.pt")
    _steps(whole, optimizer, turbo, 9)
    again, optimizer, continued = run(0)
    states = torch.load(tmp_path / "run.pt", weights_only=True)
    again.load_state_dict(states[0])
    optimizer.load_state_dict(states[1])
    assert continued.n_steps == 7
    _steps(again, optimizer, continued, 9)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert continued.masks() == turbo.masks()
    assert continued.certificate().layers["0"].kl == turbo.certificate().layers["0"].kl


def test_states_of_other_models_are_refused():
    model = _model()
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, **STEPS)
    state = turbo.state_dict()
    state["layers"] = {"0": state["layers"]["0"]}
    with pytest.raises(ValueError, match=r"state must be that of \['0', '2'\]; got \['0'\]"):
        turbo.load_state_dict(state)
    with pytest.raises(ValueError, match=r"state must be one of network Turbo-VBI; it lacks \['layers', 'n_steps'"):
        turbo.load_state_dict({"rates": 0.0})


def test_dead_inputs_go_off_and_come_back():
    model = _model()
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, dead_inputs="off", **STEPS)
    with torch.no_grad():
        model[0].weight.fill_(2.0)
    x, _ = _data()
    x[:, 2] = 0
    turbo.n_steps = 12
    turbo.update()
    assert turbo.masks()["0.weight"].all()  # nothing has been seen yet
    model(x)
    turbo.update()
    assert turbo.masks()["0.weight"].all(0).tolist() == [True, True, False, True, True, True]
    assert not turbo.masks()["0.weight"][:, 2].any()
    assert turbo.certificate().valid
    model.eval()
    model(torch.ones(1, 6))
    turbo.update()
    assert not turbo.masks()["0.weight"][:, 2].any()
    model.train()
    model(torch.ones(1, 6))
    turbo.update()
    assert turbo.masks()["0.weight"].all()
    turbo.remove()
    assert not model[0]._forward_pre_hooks


def test_the_channels_of_a_convolution_are_watched():
    model = bayesianise(nn.Sequential(nn.Conv2d(3, 2, 2)), 1.0, mu_std=2.0, sigma_init=(0.05, 0.0), generator=0)
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=2, prior="iid", on_rate=1.0, dead_inputs="off", **STEPS)
    with torch.no_grad():
        model[0].weight.fill_(2.0)
    x = torch.randn(2, 3, 4, 4)
    x[:, 1] = 0
    model(x)
    turbo.n_steps = 12
    turbo.update()
    assert turbo.masks()["0.weight"].flatten(2).all(2).all(0).tolist() == [True, False, True]


def test_removing_ends_updates():
    model = _model()
    optimizer = _adam(model)
    turbo = NetworkTurboVBI(model, optimizer, n_samples=20, **STEPS)
    turbo.remove()
    _steps(model, optimizer, turbo, 3)
    assert turbo.n_steps == 0


def test_steps_that_a_scaler_leaves_out_do_not_count():
    model = _model()
    optimizer = _adam(model)
    turbo = NetworkTurboVBI(model, optimizer, n_samples=20, **STEPS)
    optimizer.found_inf = torch.ones(())
    turbo.before_step()
    turbo.after_step()
    assert turbo.n_steps == 0
    del optimizer.found_inf
    _steps(model, optimizer, turbo, 1)
    assert turbo.n_steps == 1


def test_slow_deviations_are_warned_of_at_once():
    model = _model()
    optimizer = _adam(model, rho_lr=0.05)
    turbo = NetworkTurboVBI(model, optimizer, n_samples=20, **STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _steps(model, optimizer, turbo, 4)
    with pytest.warns(RuntimeWarning, match=r"learning rates of rho add up to 0.4 .* should to 6.91"):
        _steps(model, optimizer, turbo, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _steps(model, optimizer, turbo, 2)


def test_deviations_that_get_slow_are_warned_of_at_the_end():
    model = _model()
    optimizer = _adam(model)
    turbo = NetworkTurboVBI(model, optimizer, n_samples=20, **STEPS)
    _steps(model, optimizer, turbo, 6)
    optimizer.param_groups[1]["lr"] = 0.01
    with pytest.warns(RuntimeWarning, match=r"learning rates of rho add up to 4.06"):
        _steps(model, optimizer, turbo, 6)


def test_other_optimisers_are_not_counted():
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    turbo = NetworkTurboVBI(model, optimizer, n_samples=20, **STEPS)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*learning rates.*")
        warnings.filterwarnings("ignore", message=".*is on at the end.*")
        _steps(model, optimizer, turbo, 14)


def test_a_layer_that_stays_on_is_warned_of():
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    turbo = NetworkTurboVBI(model, optimizer, n_samples=20, on_rate=1e-6, **STEPS)
    with pytest.warns(RuntimeWarning, match=r"every weight of layer '0' is on at the end of the annealing"):
        _steps(model, optimizer, turbo, 12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": 0.2, "deactivation": 0.2}, "is above 0.4"),
        ({"activation": 0.3, "deactivation": 0.8}, "neighbours avoid"),
    ],
)
def test_priors_that_do_not_sparsify_are_warned_of(changes, message):
    model = _model()
    with pytest.warns(RuntimeWarning, match=message):
        NetworkTurboVBI(model, _adam(model), n_samples=20, **STEPS, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_samples": 0}, "n_samples must be"),
        ({"warmup_steps": -1}, "warmup_steps must be"),
        ({"anneal_steps": 0}, "anneal_steps must be"),
        ({"update_every": 0}, "update_every must be"),
        ({"prior": "chain"}, "prior must be"),
        ({"prior": {"0": "iid"}}, r"prior must name every layer; missing are \['2'\]"),
        ({"prior": {"0": "iid", "2": "rows"}}, r"prior\['2'\] must be"),
        ({"prior": {"0": "iid", "1": "iid", "2": "iid"}}, r"prior must have names of \['0', '2'\]; got \['1'\]"),
        ({"activation": 1.0}, "activation must be"),
        ({"deactivation": 0.0}, "deactivation must be"),
        ({"on_shape": 0.0}, "on_shape must be"),
        ({"on_rate": "data"}, "on_rate must be"),
        ({"off_shape": -1.0}, "off_shape must be"),
        ({"off_rate_ratio": 0.0}, "off_rate_ratio must be"),
        ({"off_rate_ratio": 1.0}, "off_rate_ratio must be below off_shape / on_shape"),
        ({"factorisation": "mean"}, "factorisation must be"),
        ({"temperature": 0.0}, "temperature must be"),
        ({"grids": {"4": WeightGrid()}}, "grids must have names"),
        ({"grids": {"0": WeightGrid(view=(5, 5))}}, "grid must fit"),
        ({"grids": {"2": (0, 1)}}, r"grids\['2'\] must be a WeightGrid; got \(0, 1\)"),
        ({"dead_inputs": True}, "dead_inputs must be"),
    ],
)
def test_arguments_out_of_range_are_named_and_leave_nothing_behind(changes, message):
    model = _model()
    optimizer = _adam(model)
    with pytest.raises(ValueError, match=message):
        NetworkTurboVBI(model, optimizer, **{"n_samples": 20, "dead_inputs": "off", **STEPS, **changes})
    assert not model[0]._forward_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_models_without_normal_weights_everywhere_are_refused():
    plain = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"model must be a torch.nn.Module"):
        NetworkTurboVBI("plain", torch.optim.Adam(plain.parameters()), n_samples=2, **STEPS)
    with pytest.raises(ValueError, match="model must have layers with normal weights"):
        NetworkTurboVBI(plain, torch.optim.Adam(plain.parameters()), n_samples=2, **STEPS)
    masked = bayesianise(nn.Sequential(nn.Linear(6, 4)), 0.5, dense_first=False, generator=0)
    with pytest.raises(ValueError, match="at density 1; layer '0' is masked"):
        NetworkTurboVBI(masked, _adam(masked), n_samples=2, **STEPS)
    model = _model()
    with pytest.raises(ValueError, match="optimizer must have weight and rho of all layers; it lacks some of '0'"):
        NetworkTurboVBI(model, torch.optim.Adam([model[0].weight]), n_samples=2, **STEPS)


def test_without_annealing_a_weight_without_data_stays_on():
    def end(anneal_steps):
        model = bayesianise(nn.Sequential(nn.Linear(8, 4)), 1.0, mu_std="fan_in", sigma_init=(0.05, 0.0), generator=0)
        optimizer = _adam(model, rho_lr=0.1)
        turbo = NetworkTurboVBI(
            model, optimizer, n_samples=50, prior="iid", warmup_steps=60, anneal_steps=anneal_steps, update_every=2
        )
        x = torch.zeros(50, 8)
        x[:, 0] = torch.linspace(-1, 1, 50)
        y = (x[:, 0] > 0).long()
        with warnings.catch_warnings(), sampling(model, "local", 0):
            warnings.simplefilter("ignore", RuntimeWarning)
            train(model, x, y, optimizer=optimizer, n_steps=400, loss=lambda o, t: class_loss(o, t) + turbo.penalty())
        return turbo.masks()["0.weight"][:, 1:].double().mean()

    assert end(250) == 0
    assert end(1) > 0.9


def test_a_report_reads_as_text():
    model = _model()
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, **STEPS)
    turbo.update()
    text = str(turbo.report())
    assert "after 0 steps" in text
    assert len(text.splitlines()) == 3
    assert turbo.report().off_rate_share == 1.0


def test_a_state_of_many_weights_is_off_only_if_all_their_inputs_are_dead():
    model = _model()
    turbo = NetworkTurboVBI(
        model, _adam(model), n_samples=20, prior={"0": "group_outputs", "2": "iid"}, dead_inputs="off", **STEPS
    )
    with torch.no_grad():
        model[0].weight.fill_(2.0)
    x, _ = _data()
    x[:, 2] = 0
    model(x)
    turbo.n_steps = 12
    turbo.update()
    assert turbo.masks()["0.weight"].all()


def test_unbatched_pictures_and_named_inputs_are_watched():
    model = bayesianise(nn.Sequential(nn.Conv2d(3, 2, 2)), 1.0, generator=0)
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=2, prior="iid", dead_inputs="off", **STEPS)
    x = torch.ones(3, 4, 4)
    x[1] = 0
    model(x)
    assert turbo.state_dict()["seen"]["0"].tolist() == [True, False, True]
    model[0](x=torch.ones(1, 3, 4, 4))
    assert turbo.state_dict()["seen"]["0"].all()


def test_a_weight_on_the_threshold_is_off():
    model = _model()
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, prior="iid", **STEPS)
    turbo.n_steps = 8
    turbo.update()
    probability = turbo.priors["0"].probability
    threshold = float(np.sort(probability.ravel())[10])
    np.testing.assert_array_equal(turbo.masks(threshold)["0.weight"].numpy(), probability > threshold)
    assert (probability == threshold).any()


def test_warnings_at_the_end_are_given_once():
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    turbo = NetworkTurboVBI(model, optimizer, n_samples=20, on_rate=1e-6, **STEPS)
    with pytest.warns(RuntimeWarning, match="is on at the end"):
        _steps(model, optimizer, turbo, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _steps(model, optimizer, turbo, 2)


def test_a_state_holds_rates_and_seen_inputs_and_does_not_change():
    def run(steps):
        model = _model()
        optimizer = _adam(model)
        turbo = NetworkTurboVBI(model, optimizer, n_samples=20, dead_inputs="off", **STEPS)
        _steps(model, optimizer, turbo, steps)
        return turbo

    later, fresh = run(9), run(0)
    state, first = later.state_dict(), fresh.state_dict()
    # Five steps of the annealing, at the smallest learning rate that any rho has.
    assert state["rates"] == 5 * 2.0
    fresh.load_state_dict(state)
    again = fresh.state_dict()
    assert again["rates"] == state["rates"]
    assert all(again["seen"][name].all() for name in ("0", "2"))
    assert not any(first["seen"][name].any() for name in ("0", "2"))
    later.load_state_dict(first)
    assert all(state["seen"][name].all() for name in ("0", "2"))


def test_a_certificate_stays_about_the_weights_it_was_made_of():
    model = _model()
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, **STEPS)
    turbo.update()
    certificate, before = turbo.certificate(), copy.deepcopy(model)
    with torch.no_grad():
        model[0].weight.mul_(2.0)
    turbo.update()
    assert turbo.certificate().valid
    assert not certificate.check(model).valid
    assert certificate.check(before).valid


def test_the_automatic_rate_and_the_divergence_of_the_states_by_hand():
    model = _model()
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=20, prior="iid", on_shape=2.0, **STEPS)
    # Weights that are on have the variance on_rate / on_shape; times density 0.2 and 6 inputs that is 1.
    assert turbo.priors["0"].on_rate == pytest.approx(2 / (0.2 * 6))
    turbo.n_steps = 10
    turbo.update()
    q = turbo.priors["0"].probability
    by_hand = (q * np.log(q / 0.2) + (1 - q) * np.log((1 - q) / 0.8)).sum()
    assert turbo.report().layers[0].support_kl == pytest.approx(by_hand)


def test_the_slowest_deviations_are_counted():
    model = _model()
    means = [model[0].weight, model[2].weight]
    groups = [{"params": means}, {"params": [model[0].rho], "lr": 2.0}, {"params": [model[2].rho], "lr": 0.5}]
    optimizer = torch.optim.Adam(groups, lr=0.02)
    turbo = NetworkTurboVBI(model, optimizer, n_samples=20, **STEPS)
    with pytest.warns(RuntimeWarning, match=r"learning rates of rho add up to 4 "):
        _steps(model, optimizer, turbo, 5)


def test_the_exported_convolution_is_that_of_the_model():
    torch.manual_seed(0)
    conv = BayesConv2d(4, 6, (3, 2), stride=(2, 1), padding=2, dilation=(1, 2), groups=2, padding_mode="circular")
    model = nn.Sequential(conv, nn.ReLU())
    model[0].bias.requires_grad_(False)
    calls = []
    model[1].register_forward_hook(lambda *_: calls.append(1))
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=2, dead_inputs="off", **STEPS)
    plain = turbo.export()
    assert plain.training
    assert not plain[0].bias.requires_grad
    assert plain[0].weight.requires_grad
    model.eval()
    assert not turbo.export()[0].training
    x = torch.randn(2, 4, 7, 8)
    with torch.no_grad(), sampling(model, "mean"):
        assert torch.equal(plain(x), model(x))
    assert len(calls) == 2


def test_each_group_of_a_convolution_has_inputs_of_its_own():
    model = nn.Sequential(BayesConv2d(4, 6, 2, groups=2))
    turbo = NetworkTurboVBI(model, _adam(model), n_samples=2, prior="iid", on_rate=1.0, dead_inputs="off", **STEPS)
    with torch.no_grad():
        model[0].weight.fill_(2.0)
    x = torch.ones(2, 4, 3, 3)
    x[:, 1] = 0
    model(x)
    turbo.n_steps = 12
    turbo.update()
    assert turbo.masks()["0.weight"].all(3).all(2).tolist() == 3 * [[True, False]] + 3 * [[True, True]]
