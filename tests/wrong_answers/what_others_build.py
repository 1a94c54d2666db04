"""Usual wrong answers to the exercises of notebook 13."""


def _loop(condition: str, value: str = "module.dilation[0]", result: str = "found") -> str:
    return f"""
def block_dilations(model, block):
    found = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and {condition}:
            found.append({value})
    return {result}
"""


HERE, SIZE = "f'layer{block}.' in name", "module.kernel_size == (3, 3)"
BOTH = f"{HERE} and {SIZE}"
PART = "told = {'number of classes', 'depth of the ResNet'"

WRONG = {
    "13.1": {
        "the 1x1 convolutions are in it": _loop(HERE),
        "dilation is a pair": _loop(BOTH, value="module.dilation"),
        "convolutions from outside layer3 are in it": _loop(SIZE),
        "that is the padding": _loop(BOTH, value="module.padding[0]"),
        "the right values, but sorted": _loop(BOTH, result="sorted(set(found))"),
    },
    "13.2": {
        "Not told by keys and shapes: dilations.": PART + ", 'decoder depth', 'dilations'}",
        "Told all the same: decoder depth.": PART + "}",
        "Not told by keys and shapes: order of concatenation.": PART + ", 'decoder depth', 'order of concatenation'}",
        "a set of strings is expected": "told = 'dropout'",
        "choose from align_corners": "told = {'rates'}",
    },
    "13.3": {
        "nothing was moved": "def pool_last(weight):\n    return weight",
        "that is the other direction": """
def pool_last(weight):
    return torch.roll(weight, weight.shape[1] // 5, dims=1)
""",
        "a branch is not one channel but a fifth of them": """
def pool_last(weight):
    return torch.roll(weight, -1, dims=1)
""",
        "the output channels were moved": """
def pool_last(weight):
    return torch.roll(weight, -(weight.shape[0] // 5), dims=0)
""",
        "the other four branches keep their order": """
def pool_last(weight):
    return torch.cat(weight.chunk(5, dim=1)[::-1], dim=1)
""",
    },
}
