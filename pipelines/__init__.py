"""TFX-style components on Apache Beam and tfx-bsl; they need the extra ``pipelines``."""
