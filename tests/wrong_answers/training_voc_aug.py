"""Usual wrong answers to the exercises of notebook 06."""

CROP = """
def joint_crop(image, label, top, left, size):
    new_image = np.full((size, size, 3), image.mean(axis=(0, 1)).round(), dtype=np.uint8)
    new_label = np.full((size, size), {fill}, dtype=np.uint8)
    for row in range(size):
        for column in range(size):
            y, x = top + row, left + column
            if 0 <= y < label.shape[0] and 0 <= x < label.shape[1]:
                new_image[row, column] = image[y, x]
                new_label[row, column] = label[{place}]
    return new_image, new_label
"""
COUNT = """
def set_miou(pairs, num_classes):
    matrix = np.zeros((num_classes, num_classes))
    for label, prediction in pairs:
        {prepare}
        np.add.at(matrix, (label.ravel(), prediction.ravel()), 1)
    hits = np.diag(matrix)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - hits
    return {result}
"""

WRONG = {
    "6.1": {
        "0 is background": CROP.format(fill=0, place="y, x"),
        "void is 255": CROP.format(fill=1, place="y, x"),
        "both are cut by the same four numbers": CROP.format(fill=255, place="y, min(x + 1, 8)"),
        "a slice is cut off at the edge": """
def joint_crop(image, label, top, left, size):
    window = slice(max(top, 0), top + size), slice(max(left, 0), left + size)
    return image[window], label[window]
""",
        "the window's first row may be negative": """
def joint_crop(image, label, top, left, size):
    top, left = max(top, 0), max(left, 0)
    part = label[top : top + size, left : left + size]
    pad = [(0, size - part.shape[0]), (0, size - part.shape[1])]
    new_label = np.pad(part, pad, constant_values=255)
    return np.pad(image[top : top + size, left : left + size], [*pad, (0, 0)]), new_label
""",
    },
    "6.2": {
        "the schedule starts anew; carry on": """
def resumed_rates(base, iterations, done):
    return [base * (1 - t / iterations) ** 0.9 for t in range(iterations - done)]
""",
        "squeezed into the steps that are left": """
def resumed_rates(base, iterations, done):
    left = iterations - done
    return [base * (1 - t / left) ** 0.9 for t in range(left)]
""",
        "it is one step ahead": """
def resumed_rates(base, iterations, done):
    return [base * (1 - t / iterations) ** 0.9 for t in range(done + 1, iterations + 1)]
""",
        "that is power 1": """
def resumed_rates(base, iterations, done):
    return [base * (1 - t / iterations) for t in range(done, iterations)]
""",
        "steps are counted from 0": """
def resumed_rates(base, iterations, done):
    return [base * (1 - t / iterations) ** 0.9 for t in range(iterations)]
""",
    },
    "6.3": {
        "a mean over the images' mIoUs is another quantity": """
def set_miou(pairs, num_classes):
    means = []
    for label, prediction in pairs:
        valid = label != 255
        label, prediction = label[valid], prediction[valid]
        classes = set(label.tolist()) | set(prediction.tolist())
        means.append(np.mean([
            ((label == k) & (prediction == k)).sum() / ((label == k) | (prediction == k)).sum() for k in classes
        ]))
    return np.mean(means)
""",
        "void pixels count as background here": COUNT.format(
            prepare="label = np.where(label == 255, 0, label)", result="np.mean((hits / union)[union > 0])"
        ),
        "class 4 is nowhere": COUNT.format(
            prepare="label, prediction = label[label != 255], prediction[label != 255]",
            result="np.mean(hits / np.maximum(union, 1))",
        ),
        "that is pixel accuracy": COUNT.format(
            prepare="label, prediction = label[label != 255], prediction[label != 255]",
            result="hits.sum() / matrix.sum()",
        ),
        "what is predicted on void": """
def set_miou(pairs, num_classes):
    labels = np.concatenate([label.ravel() for label, _ in pairs])
    predictions = np.concatenate([prediction.ravel() for _, prediction in pairs])
    return np.mean([
        ((labels == k) & (predictions == k)).sum() / ((labels == k) | (predictions == k)).sum()
        for k in range(num_classes)
        if ((labels == k) | (predictions == k)).any()
    ])
""",
        "a class without a pixel has the IoU 0/0": COUNT.format(
            prepare="label, prediction = label[label != 255], prediction[label != 255]",
            result="float('nan')",
        ),
    },
}
