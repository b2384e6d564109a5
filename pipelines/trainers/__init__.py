"""Trainer modules, each with ``run_fn(fn_args)``, for the component Trainer or for TFX's own.

They import nothing but TensorFlow, NumPy, tfx-bsl and this distribution's ``idp_tf`` and
``serving``, and read what TFX's ``FnArgs`` has, so that in a TFX pipeline they are::

    tfx.components.Trainer(
        run_fn="pipelines.trainers.fine_tune.run_fn",
        examples=example_gen.outputs["examples"],  # of SequenceExamples
        base_model=latest_blessed.outputs["model"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
        custom_config={
            "domains": [{"name": "office", "items": "/…/Split-all/data_tfrecord-*"}],
            "system": "idp",
            "pretrained": "/…/Format-Serving",
            "embeddings": "/…",
            "settings": {"fine_tune": {"patience": 10}},
        },
    )

``idp_tf.workflow.trainer_modules.TrainerConfig`` says what ``custom_config`` may hold. Examples
are read by ``data_accessor.tf_dataset_factory``: for SequenceExamples TFX's
``record_batch_factory`` is not implemented. Folders must be of mounted file systems. TFX itself
could not be installed where this was written; tests call the modules with its FnArgs.
"""
