"""Usual wrong answers to the exercises of notebook 15."""

from tests.wrong_answers import mistaken

LAYERS = mistaken("15.2")
PAIRS = "zip(outputs(ours), outputs(theirs), strict=True)"

WRONG = {
    "15.1": {
        "Not told by keys and shapes: dilations.": "{'decoder depth', 'dilations'}",
        "Not told by keys and shapes: order of concatenation.": "{'decoder depth', 'order of concatenation'}",
        "Told all the same: decoder depth.": "{'number of classes', 'depth of the ResNet'}",
        "a set of strings is expected": "'dropout rate'",
        "choose from align_corners": "{'rates'}",
    },
    "15.2": {
        "everything after the first layer differs too": LAYERS(PAIRS, f"[*{PAIRS}][::-1]"),
        "rounding is no difference": LAYERS("rtol=1e-3, atol=1e-3 * float(output.abs().max())", "rtol=0, atol=0"),
        "a module with children differs": LAYERS(
            "not list(module.children())", "name != 'backbone'",
            "return kept", "order = [name for name, _ in model.named_modules()]\n"
            "    return sorted(kept, key=lambda pair: order.index(pair[0]))",
        ),
        "a layer may be called several times": LAYERS("return kept", "return dict(kept).items()"),
        "hooks are called in the order": LAYERS(
            "for (name, output)", "found = []\nfor (name, output)",
            "return name", "found.append(name)", 'return ""', "return found[1] if found[1:] else ''",
        ),
    },
    "15.3": {
        "nothing was moved": "return weight",
        "not the last to the front": "return torch.roll(weight, weight.shape[1] // 5, dims=1)",
        "a branch is not one channel but a fifth of them": "return torch.roll(weight, -1, dims=1)",
        "the output channels were moved": "return torch.roll(weight, -(weight.shape[0] // 5), dims=0)",
        "the other four branches keep their order": "return torch.cat(weight.chunk(5, dim=1)[::-1], dim=1)",
    },
}  # fmt: skip
