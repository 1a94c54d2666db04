"""Usual wrong answers to the exercises of notebook 03."""

WRONG = {
    "3.1": [
        "def block4_rates(output_stride, multi_grid):\n    return tuple(multi_grid)",
        "def block4_rates(output_stride, multi_grid):\n    return tuple(2 * factor for factor in multi_grid)",
        "def block4_rates(output_stride, multi_grid):\n    return tuple(output_stride * f for f in multi_grid)",
        "def block4_rates(output_stride, multi_grid):\n    return tuple(32 // output_stride + f for f in multi_grid)",
        "def block4_rates(output_stride, multi_grid):\n    return tuple(16 // output_stride * f for f in multi_grid)",
    ],
    "3.2": [
        "def reached_offsets(rates):\n    return set(range(-sum(rates), sum(rates) + 1))",
        "def reached_offsets(rates):\n    return {s * rate for rate in rates for s in (-1, 0, 1)}",
        "def reached_offsets(rates):\n"
        "    found = {0}\n"
        "    for rate in rates:\n"
        "        found = {offset + tap for offset in found for tap in (0, rate)}\n"
        "    return found",
        "def reached_offsets(rates):\n"
        "    found = {0}\n"
        "    for rate in rates:\n"
        "        found = {offset + tap for offset in found for tap in (-rate, rate)}\n"
        "    return found - {0}",
    ],
    "3.3": [
        # The unit that loses its stride is dilated at once: detectron2's and jfzhang95's first unit.
        "def strides_to_rates(unit_strides, output_stride):\n"
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
        "def strides_to_rates(unit_strides, output_stride):\n    return [(stride, 1) for stride in unit_strides]",
        # The stride is removed, and nothing is dilated.
        "def strides_to_rates(unit_strides, output_stride):\n"
        "    reached, plan = 4, []\n"
        "    for stride in unit_strides:\n"
        "        stride = stride if reached * stride <= output_stride else 1\n"
        "        reached *= stride\n"
        "        plan.append((stride, 1))\n"
        "    return plan",
        # The rate is set to 2, not multiplied by it.
        "def strides_to_rates(unit_strides, output_stride):\n"
        "    reached, rate, plan = 4, 1, []\n"
        "    for stride in unit_strides:\n"
        "        if reached * stride <= output_stride:\n"
        "            reached *= stride\n"
        "            plan.append((stride, rate))\n"
        "        else:\n"
        "            plan.append((1, rate))\n"
        "            rate = stride\n"
        "    return plan",
    ],
    "3.4": [
        "def pre_activation(x, norms, convs):\n"
        "    y = x\n"
        "    for norm, conv in zip(norms, convs):\n"
        "        y = conv(torch.relu(norm(y)))\n"
        "    return y",
        "def pre_activation(x, norms, convs):\n"
        "    y = x\n"
        "    for norm, conv in zip(norms, convs):\n"
        "        y = conv(torch.relu(norm(y)))\n"
        "    return torch.relu(x + y)",
        "def pre_activation(x, norms, convs):\n"
        "    x = torch.relu(norms[0](x))\n"
        "    y = convs[0](x)\n"
        "    for norm, conv in zip(norms[1:], convs[1:]):\n"
        "        y = conv(torch.relu(norm(y)))\n"
        "    return x + y",
        "def pre_activation(x, norms, convs):\n"
        "    y = x\n"
        "    for norm, conv in zip(norms, convs):\n"
        "        y = conv(norm(y))\n"
        "    return x + y",
        "def pre_activation(x, norms, convs):\n"
        "    y = x\n"
        "    for norm, conv in zip(norms, convs):\n"
        "        y = conv(norm(torch.relu(y)))\n"
        "    return x + y",
    ],
}
