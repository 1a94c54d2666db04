"""Usual wrong answers to the exercises of notebook 15."""

from tests.wrong_answers import fill

LAYERS = fill(
    """
def outputs(model):
    kept = []
    for name, module in model.named_modules():
        if {layers}:
            module.register_forward_hook(lambda _, inputs, output, name=name: kept.append((name, output.clone())))
    with torch.no_grad():
        model(images)
    return {kept}
pairs = zip(outputs(ours), outputs(theirs))
different = [name for (name, first), (_, second) in pairs if not {same}]
return {result}
""",
    layers="not list(module.children())",
    kept="kept",
    same="torch.allclose(first, second, rtol=1e-3, atol=1e-3)",
    result="different[0] if different else ''",
)

WRONG = {
    "15.1": {
        "Not told by keys and shapes: dilations.": "{'decoder depth', 'dilations'}",
        "Not told by keys and shapes: order of concatenation.": "{'decoder depth', 'order of concatenation'}",
        "Told all the same: decoder depth.": "{'number of classes', 'depth of the ResNet'}",
        "a set of strings is expected": "'dropout'",
        "choose from align_corners": "{'rates'}",
    },
    "15.2": {
        "everything after the first layer differs too": LAYERS(result="different[-1] if different else ''"),
        "exact equality takes rounding": LAYERS(same="torch.equal(first, second)"),
        "a module with children differs": LAYERS(
            layers="name != 'backbone'",
            kept="sorted(kept, key=lambda pair: [name for name, _ in model.named_modules()].index(pair[0]))",
        ),
        "a layer may be called several times": LAYERS(kept="dict(kept).items()"),
        "hooks are called in the order": LAYERS(result="different[1] if different[1:] else ''"),
    },
    "15.3": {
        "nothing was moved": "return weight",
        "not the last to the front": "return torch.roll(weight, weight.shape[1] // 5, dims=1)",
        "a branch is not one channel but a fifth of them": "return torch.roll(weight, -1, dims=1)",
        "the output channels were moved": "return torch.roll(weight, -(weight.shape[0] // 5), dims=0)",
        "the other four branches keep their order": "return torch.cat(weight.chunk(5, dim=1)[::-1], dim=1)",
    },
}
