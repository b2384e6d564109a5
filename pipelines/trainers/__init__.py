"""Trainer modules, each with ``run_fn(fn_args)``, for the component Trainer or for TFX's own.

They import nothing but TensorFlow, tfx-bsl and this distribution's ``idp_tf`` and ``serving``.
"""
