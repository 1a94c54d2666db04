"""Usual wrong answers to the exercises of notebook 15."""

from tests.wrong_answers import fill

LOOP = fill(
    """
found = []
for name, module in model.named_modules():
    if isinstance(module, nn.Conv2d) and {condition}:
        found.append({value})
return {result}
""",
    condition="f'layer{block}.' in name and module.kernel_size == (3, 3)",
    value="module.dilation[0]",
    result="found",
)

WRONG = {
    "15.1": {
        "the 1x1 convolutions are in it": LOOP(condition="f'layer{block}.' in name"),
        "dilation is a pair": LOOP(value="module.dilation"),
        "convolutions from outside layer3 are in it": LOOP(condition="module.kernel_size == (3, 3)"),
        "that is the padding": LOOP(value="module.padding[0]"),
        "the right values, but sorted": LOOP(result="sorted(set(found))"),
        "ask of every module": LOOP(result="found[:1]"),
    },
    "15.2": {
        "Not told by keys and shapes: dilations.": "{'decoder depth', 'dilations'}",
        "Not told by keys and shapes: order of concatenation.": "{'decoder depth', 'order of concatenation'}",
        "Told all the same: decoder depth.": "{'number of classes', 'depth of the ResNet'}",
        "a set of strings is expected": "'dropout'",
        "choose from align_corners": "{'rates'}",
    },
    "15.3": {
        "nothing was moved": "return weight",
        "not the last to the front": "return torch.roll(weight, weight.shape[1] // 5, dims=1)",
        "a branch is not one channel but a fifth of them": "return torch.roll(weight, -1, dims=1)",
        "the output channels were moved": "return torch.roll(weight, -(weight.shape[0] // 5), dims=0)",
        "the other four branches keep their order": "return torch.cat(weight.chunk(5, dim=1)[::-1], dim=1)",
    },
}
