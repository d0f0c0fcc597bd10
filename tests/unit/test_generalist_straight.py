"""Layers that are called straight compute what bitsandbytes computes, to the bit."""

import pytest

pytest.importorskip("bitsandbytes")

import torch
from bitsandbytes.nn import Linear4bit
from torch import nn

from clarify.agent.generalist.loading import load
from clarify.agent.generalist.profiles import nano_folder
from clarify.agent.generalist.straight import straighten


def packed(bias):
    """A small 4-bit layer as `load` would have it: after a first pass."""
    torch.manual_seed(0)
    layer = Linear4bit(
        128, 64, bias=bias, compute_dtype=torch.bfloat16, compress_statistics=True, quant_type="nf4"
    )
    layer.load_state_dict(nn.Linear(128, 64, bias=bias).to(torch.bfloat16).state_dict())
    layer = layer.to("cpu").eval()
    with torch.inference_mode():
        layer(torch.zeros(1, 128, dtype=torch.bfloat16))
    return layer


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 128), (2, 7, 128), (3, 128)])
def test_the_outputs_are_the_same(bias, shape):
    model = nn.ModuleList([packed(bias)])
    x = torch.randn(shape, dtype=torch.bfloat16)
    with torch.inference_mode():
        before = model[0](x)
        straighten(model)
        assert torch.equal(model[0](x), before)
        assert torch.equal(model[0](x), before)  # a bias is not added into what is kept


def test_another_type_of_input_goes_the_way_of_bitsandbytes():
    model = nn.ModuleList([packed(True)])
    x = torch.randn(4, 128)
    with torch.inference_mode():
        before = model[0](x)
        straighten(model)
        after = model[0](x)
    assert after.dtype == before.dtype == torch.float32
    assert torch.equal(after, before)


def test_layers_that_are_not_packed_and_other_layers_stay():
    odd = Linear4bit(96, 48, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4").to("cpu")
    model = nn.ModuleList([odd, nn.Linear(4, 4)])
    straighten(model)
    assert not any("forward" in vars(layer) for layer in model)


def test_the_shipped_model_is_called_straight_and_says_the_same():
    plain = load(str(nano_folder()), True, None, "cpu", local=True, warm=False)
    straight = load(str(nano_folder()), True, None, "cpu", local=True)
    called = [m for m in straight.model.modules() if type(m) is Linear4bit and "forward" in vars(m)]
    assert len(called) > 60
    ids = torch.randint(20, 4000, (1, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for tokens in (ids, ids[:, :1]):
            logits = [lm.model(input_ids=tokens).logits for lm in (plain, straight)]
            assert torch.equal(*logits)
