"""Contrastive Grad-CAM Consistency (CGC) for Keras 3 and TensorFlow."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
