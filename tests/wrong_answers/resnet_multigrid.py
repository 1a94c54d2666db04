"""Usual wrong answers to the exercises of notebook 03."""

WRONG = {
    "3.1": {
        "the factors are multiplied by the block's base rate": "def block4_rates(output_stride, multi_grid):\n"
        "    return tuple(multi_grid)",
        "the base rate is 2 only at 16": "def block4_rates(output_stride, multi_grid):\n"
        "    return tuple(2 * factor for factor in multi_grid)",
        "the output stride is not the base rate": "def block4_rates(output_stride, multi_grid):\n"
        "    return tuple(output_stride * f for f in multi_grid)",
        "the base rate is multiplied by the factors": "def block4_rates(output_stride, multi_grid):\n"
        "    return tuple(32 // output_stride + f for f in multi_grid)",
        "the base rate is the product": "def block4_rates(output_stride, multi_grid):\n"
        "    return tuple(16 // output_stride * f for f in multi_grid)",
    },
    "3.2": {
        "that is the whole window": "def reached_offsets(rates):\n    return set(range(-sum(rates), sum(rates) + 1))",
        "those are the single convolutions' taps": "def reached_offsets(rates):\n"
        "    return {s * rate for rate in rates for s in (-1, 0, 1)}",
        "a kernel reaches to both sides": "def reached_offsets(rates):\n"
        "    found = {0}\n"
        "    for rate in rates:\n"
        "        found = {offset + tap for offset in found for tap in (0, rate)}\n"
        "    return found",
        "the middle tap has offset 0": "def reached_offsets(rates):\n"
        "    found = {0}\n"
        "    for rate in rates:\n"
        "        found = {offset + tap for offset in found for tap in (-rate, rate)}\n"
        "    return found - {0}",
    },
    "3.3": {
        # The unit that loses its stride is dilated at once: detectron2's and jfzhang95's first unit.
        "its input is the same map as before": "def strides_to_rates(unit_strides, output_stride):\n"
        "    reached, rate, plan = 4, 1, []\n"
        "    for stride in unit_strides:\n"
        "        if reached * stride <= output_stride:\n"
        "            reached *= stride\n"
        "            plan.append((stride, rate))\n"
        "        else:\n"
        "            rate *= stride\n"
        "            plan.append((1, rate))\n"
        "    return plan",
        # The stride is kept.
        "a unit keeps its stride as": "def strides_to_rates(unit_strides, output_stride):\n"
        "    return [(stride, 1) for stride in unit_strides]",
        # The stride is removed, and nothing is dilated.
        "a unit after a removed stride": "def strides_to_rates(unit_strides, output_stride):\n"
        "    reached, plan = 4, []\n"
        "    for stride in unit_strides:\n"
        "        stride = stride if reached * stride <= output_stride else 1\n"
        "        reached *= stride\n"
        "        plan.append((stride, 1))\n"
        "    return plan",
        # The rate is set to 2, not multiplied by it.
        "every removed stride multiplies the rate": "def strides_to_rates(unit_strides, output_stride):\n"
        "    reached, rate, plan = 4, 1, []\n"
        "    for stride in unit_strides:\n"
        "        if reached * stride <= output_stride:\n"
        "            reached *= stride\n"
        "            plan.append((stride, rate))\n"
        "        else:\n"
        "            plan.append((1, rate))\n"
        "            rate = stride\n"
        "    return plan",
    },
    "3.4": {
        "it is F(x) only": "def pre_activation(x, norms, convs):\n"
        "    y = x\n"
        "    for norm, conv in zip(norms, convs):\n"
        "        y = conv(torch.relu(norm(y)))\n"
        "    return y",
        "there is no ReLU after the sum": "def pre_activation(x, norms, convs):\n"
        "    y = x\n"
        "    for norm, conv in zip(norms, convs):\n"
        "        y = conv(torch.relu(norm(y)))\n"
        "    return torch.relu(x + y)",
        "the shortcut starts at x itself": "def pre_activation(x, norms, convs):\n"
        "    x = torch.relu(norms[0](x))\n"
        "    y = convs[0](x)\n"
        "    for norm, conv in zip(norms[1:], convs[1:]):\n"
        "        y = conv(torch.relu(norm(y)))\n"
        "    return x + y",
        "a ReLU belongs between each norm and its convolution": "def pre_activation(x, norms, convs):\n"
        "    y = x\n"
        "    for norm, conv in zip(norms, convs):\n"
        "        y = conv(norm(y))\n"
        "    return x + y",
        "in each of the three steps the order is norm": "def pre_activation(x, norms, convs):\n"
        "    y = x\n"
        "    for norm, conv in zip(norms, convs):\n"
        "        y = conv(norm(torch.relu(y)))\n"
        "    return x + y",
    },
}
