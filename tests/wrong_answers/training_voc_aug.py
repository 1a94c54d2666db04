"""Usual wrong answers to the exercises of notebook 06."""

from tests.wrong_answers import fill

CROP = fill(
    """
new_image = np.full((size, size, 3), image.mean(axis=(0, 1)).round(), dtype=np.uint8)
new_label = np.full((size, size), {fill}, dtype=np.uint8)
for row in range(size):
    for column in range(size):
        y, x = {place}
        if 0 <= y < label.shape[0] and 0 <= x < label.shape[1]:
            new_image[row, column] = image[y, x]
            new_label[row, column] = label[{label}]
return new_image, new_label
""",
    fill=255,
    place="top + row, left + column",
    label="y, x",
)
RATES = fill("return [base * (1 - t / {length}) ** {power} for t in {steps}]", length="iterations", power=0.9)
STEP = fill(
    """
valid = sum(int((labels != 255).sum()) for _, labels in parts)
total = 0.0
{clear}
for pixels, labels in parts:
    {inside}
    loss = F.cross_entropy(model(pixels), labels, ignore_index=255, reduction="sum") / {divisor}
    loss.backward()
    total += loss.item()
    {step}
{end}
return {result}
""",
    clear="optimizer.zero_grad()",
    inside="pass",
    divisor="valid",
    step="pass",
    end="optimizer.step()",
    result="total",
)
COUNT = fill(
    """
matrix = np.zeros((256, 256))
for label, prediction in pairs:
    {prepare}
    np.add.at(matrix, (label.ravel(), prediction.ravel()), 1)
hits = np.diag(matrix)[:num_classes]
union = (matrix.sum(axis=0) + matrix.sum(axis=1))[:num_classes] - hits
return {result}
""",
    prepare="label, prediction = label[label != 255], prediction[label != 255]",
    result="np.mean((hits / union)[union > 0])",
)

WRONG = {
    "6.1": {
        "0 is background": CROP(fill=0),
        "void is 255": CROP(fill=1),
        "both are cut by the same four numbers": CROP(label="y, min(x + 1, 8)"),
        "a slice is cut off at the edge": """
window = slice(max(top, 0), top + size), slice(max(left, 0), left + size)
return image[window], label[window]
""",
        "the window's first row may be negative": CROP(place="max(top, 0) + row, max(left, 0) + column"),
    },
    "6.2": {
        "the schedule starts anew; carry on": RATES(steps="range(iterations - done)"),
        "squeezed into the steps that are left": RATES(steps="range(iterations - done)", length="(iterations - done)"),
        "it is one step ahead": RATES(steps="range(done + 1, iterations + 1)"),
        "that is power 1": RATES(steps="range(done, iterations)", power=1),
        "the steps before `done` are over": RATES(steps="range(iterations)"),
        "for t from `done` to T - 1": RATES(steps="range(done, iterations)", power=0.5),
    },
    "6.3": {
        "each part's mean has the same weight": STEP(divisor="((labels != 255).sum() * len(parts))"),
        "the parts' means are added up": STEP(divisor="(labels != 255).sum()"),
        "void pixels are in the divisor": STEP(divisor="sum(labels.numel() for _, labels in parts)"),
        "a step after each part": STEP(inside="optimizer.zero_grad()", step="optimizer.step()", end="pass"),
        "only the last part's gradient is left": STEP(inside="optimizer.zero_grad()"),
        "the gradient from before": STEP(clear="pass"),
        "without optimizer.step()": STEP(end="pass"),
        "a backward pass for each part": STEP(divisor="labels.numel()"),
        "over all valid pixels": STEP(result="total / len(parts)"),
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
        "void pixels count as background here": COUNT(prepare="label = np.where(label == 255, 0, label)"),
        "predictions on void pixels count as false positives": COUNT(prepare="pass"),
        "class 4 is nowhere": COUNT(result="np.mean(hits / np.maximum(union, 1))"),
        "that is pixel accuracy": COUNT(result="hits.sum() / matrix.sum()"),
        "a class without a pixel has the IoU 0/0": COUNT(result="float('nan')"),
        "pixels where both say it": COUNT(result="hits.sum() / union.sum()"),
    },
}
