"""Usual wrong answers to the exercises of notebook 06."""

from tests.wrong_answers import mistaken

CROP, RATES, STEP, COUNT = map(mistaken, ("6.1", "6.2", "6.3", "6.4"))
STEPS = "range(done, iterations)"
MEAN = "np.mean(hits[union > 0] / union[union > 0])"

WRONG = {
    "6.1": {
        "0 is background": CROP("255, dtype", "0, dtype"),
        "void is 255": CROP("255, dtype", "1, dtype"),
        "both are cut by the same four numbers": CROP("label[source]", "np.roll(label, -1, 1)[source]"),
        "a slice is cut off at the edge": """
window = slice(max(top, 0), top + size), slice(max(left, 0), left + size)
return image[window], label[window]
""",
        "the window's first row may be negative": CROP(
            "first, last =", "top, left = max(top, 0), max(left, 0)\nfirst, last ="
        ),
    },
    "6.2": {
        "the schedule starts anew; carry on": RATES(STEPS, "range(iterations - done)"),
        "squeezed into the steps that are left": RATES(
            STEPS, "range(iterations - done)", "/ iterations", "/ (iterations - done)"
        ),
        "it is one step ahead": RATES(STEPS, "range(done + 1, iterations + 1)"),
        "that is power 1": RATES(" ** 0.9", ""),
        "the steps before `done` are over": RATES(STEPS, "range(iterations)"),
        "for t from `done` to T - 1": RATES("0.9", "0.5"),
    },
    "6.3": {
        "each part's mean has the same weight": STEP("/ valid", "/ ((labels != 255).sum() * len(parts))"),
        "the parts' means are added up": STEP("/ valid", "/ (labels != 255).sum()"),
        "void pixels are in the divisor": STEP("/ valid", "/ sum(labels.numel() for _, labels in parts)"),
        "a step after each part": STEP(
            "    loss =", "    optimizer.zero_grad()\n    loss =", "\noptimizer.step()", "\n    optimizer.step()"
        ),
        "only the last part's gradient is left": STEP("    loss =", "    optimizer.zero_grad()\n    loss ="),
        "the gradient from before": STEP("optimizer.zero_grad()\n", ""),
        "without optimizer.step()": STEP("optimizer.step()\n", ""),
        "a backward pass for each part": STEP("/ valid", "/ labels.numel()"),
        "All parts went through the network at once": """
pixels, labels = map(torch.cat, zip(*parts))
loss = F.cross_entropy(model(pixels), labels, ignore_index=255)
optimizer.zero_grad()
loss.backward()
optimizer.step()
return loss.item()
""",
        "More than one part was in the network": STEP(
            "    loss.backward()  # adds to the gradients\n    total += loss.item()\n",
            "    total += loss\n",
            "optimizer.step()",
            "total.backward()\noptimizer.step()",
            "return total",
            "return total.item()",
        ),
        "over all valid pixels": STEP("return total", "return total / len(parts)"),
    },
    "6.4": {
        "a mean over the images' mIoUs is another quantity": """
means = []
for label, prediction in pairs:
    label, prediction = label[label != 255], prediction[label != 255]
    classes = set(label.tolist()) | set(prediction.tolist())
    both = [((label == k) & (prediction == k)).sum() for k in classes]
    means.append(np.mean(both / np.array([((label == k) | (prediction == k)).sum() for k in classes])))
return np.mean(means)
""",
        "void pixels count as background here": COUNT(
            "    valid", "    label = np.where(label == 255, 0, label)\n    valid"
        ),
        "predictions on void pixels count as false positives": """
matrix = np.zeros((256, 256))
for label, prediction in pairs:
    np.add.at(matrix, (label.ravel(), prediction.ravel()), 1)
hits = np.diag(matrix)[:num_classes]
union = (matrix.sum(axis=0) + matrix.sum(axis=1))[:num_classes] - hits
return np.mean((hits / union)[union > 0])
""",
        "class 5 is nowhere": COUNT(MEAN, "np.mean(hits / np.maximum(union, 1))"),
        "class 4 is labelled nowhere": COUNT("union > 0", "matrix.sum(axis=1) > 0"),
        "that is pixel accuracy": COUNT(MEAN, "hits.sum() / matrix.sum()"),
        "a class without a pixel has the IoU 0/0": COUNT(MEAN, "'nan'"),
        "pixels where both say it": COUNT(MEAN, "hits.sum() / union.sum()"),
    },
}
