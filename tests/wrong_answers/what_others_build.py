"""Usual wrong answers to the exercises of notebook 13."""

LOOP = (
    "def block_dilations(model, block):\n"
    "    found = []\n"
    "    for name, module in model.named_modules():\n"
    "        if isinstance(module, nn.Conv2d) and {condition}:\n"
    "            found.append({value})\n"
    "    return {result}"
)
HERE, SIZE = "f'layer{block}.' in name", "module.kernel_size == (3, 3)"

WRONG = {
    "13.1": [
        LOOP.replace("{condition}", HERE).replace("{value}", "module.dilation[0]").replace("{result}", "found"),
        LOOP.replace("{condition}", f"{HERE} and {SIZE}")
        .replace("{value}", "module.dilation")
        .replace("{result}", "found"),
        LOOP.replace("{condition}", SIZE).replace("{value}", "module.dilation[0]").replace("{result}", "found"),
        LOOP.replace("{condition}", f"{HERE} and {SIZE}")
        .replace("{value}", "module.padding[0]")
        .replace("{result}", "found"),
        LOOP.replace("{condition}", f"{HERE} and {SIZE}")
        .replace("{value}", "module.dilation[0]")
        .replace("{result}", "sorted(set(found))"),
    ],
    "13.2": [
        "told = {'number of classes', 'depth of the ResNet', 'decoder depth', 'dilations'}",
        "told = {'number of classes', 'depth of the ResNet'}",
        "told = {'number of classes', 'depth of the ResNet', 'decoder depth', 'order of concatenation'}",
        "told = 'dropout'",
        "told = {'rates'}",
    ],
    "13.3": [
        "def pool_last(weight):\n    return weight",
        "def pool_last(weight):\n    return torch.roll(weight, weight.shape[1] // 5, dims=1)",
        "def pool_last(weight):\n    return torch.roll(weight, -1, dims=1)",
        "def pool_last(weight):\n    return torch.roll(weight, -(weight.shape[0] // 5), dims=0)",
        "def pool_last(weight):\n    return torch.cat(weight.chunk(5, dim=1)[::-1], dim=1)",
    ],
}
