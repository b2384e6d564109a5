"""TensorFlow's messages that TF-Serving's are made of.

Source: tensorflow/core/framework/{types,tensor_shape,tensor}.proto,
tensorflow/core/example/{feature,example}.proto, tensorflow/core/protobuf/{meta_graph,
error_codes}.proto of TensorFlow 2.20; google/protobuf/{any,wrappers}.proto.

Left out, and kept unread in what is received: of a TensorProto the resource handles and
variants, of a TensorInfo composite tensors.
"""

from __future__ import annotations

from typing import Final

from serving.wire.schema import enum, field, file, map_field, message, oneof, repeated

_TYPES: Final = (
    "FLOAT DOUBLE INT32 UINT8 INT16 INT8 STRING COMPLEX64 INT64 BOOL QINT8 QUINT8 QINT32 BFLOAT16 "
    "QINT16 QUINT16 UINT16 COMPLEX128 HALF RESOURCE VARIANT UINT32 UINT64 FLOAT8_E5M2 "
    "FLOAT8_E4M3FN FLOAT8_E4M3FNUZ FLOAT8_E4M3B11FNUZ FLOAT8_E5M2FNUZ INT4 UINT4 INT2 UINT2"
)

_REFERENCES: Final = 100
"""What a reference's number lies above its type's."""

PROTOBUF: Final = file(
    "google.protobuf",
    message("Any", field("type_url", 1, "string"), field("value", 2, "bytes")),
    message("Int64Value", field("value", 1, "int64")),
)

ERRORS: Final = file(
    "tensorflow.error",
    enum(
        "Code",
        OK=0,
        CANCELLED=1,
        UNKNOWN=2,
        INVALID_ARGUMENT=3,
        DEADLINE_EXCEEDED=4,
        NOT_FOUND=5,
        ALREADY_EXISTS=6,
        PERMISSION_DENIED=7,
        RESOURCE_EXHAUSTED=8,
        FAILED_PRECONDITION=9,
        ABORTED=10,
        OUT_OF_RANGE=11,
        UNIMPLEMENTED=12,
        INTERNAL=13,
        UNAVAILABLE=14,
        DATA_LOSS=15,
        UNAUTHENTICATED=16,
    ),
)

TENSORFLOW: Final = file(
    "tensorflow",
    enum(
        "DataType",
        DT_INVALID=0,
        **{f"DT_{name}": number for number, name in enumerate(_TYPES.split(), 1)},
        **{f"DT_{name}_REF": _REFERENCES + number for number, name in enumerate(_TYPES.split(), 1)},
    ),
    message(
        "TensorShapeProto",
        message("Dim", field("size", 1, "int64"), field("name", 2, "string")),
        repeated("dim", 2, "Dim"),
        field("unknown_rank", 3, "bool"),
    ),
    message(
        "TensorProto",
        field("dtype", 1, "DataType"),
        field("tensor_shape", 2, "TensorShapeProto"),
        field("version_number", 3, "int32"),
        field("tensor_content", 4, "bytes"),
        repeated("half_val", 13, "int32"),
        repeated("float_val", 5, "float"),
        repeated("double_val", 6, "double"),
        repeated("int_val", 7, "int32"),
        repeated("string_val", 8, "bytes"),
        repeated("scomplex_val", 9, "float"),
        repeated("int64_val", 10, "int64"),
        repeated("bool_val", 11, "bool"),
        repeated("dcomplex_val", 12, "double"),
        repeated("uint32_val", 16, "uint32"),
        repeated("uint64_val", 17, "uint64"),
        field("float8_val", 18, "bytes"),
    ),
    message(
        "TensorInfo",
        message(
            "CooSparse",
            field("values_tensor_name", 1, "string"),
            field("indices_tensor_name", 2, "string"),
            field("dense_shape_tensor_name", 3, "string"),
        ),
        oneof("encoding", field("name", 1, "string"), field("coo_sparse", 4, "CooSparse")),
        field("dtype", 2, "DataType"),
        field("tensor_shape", 3, "TensorShapeProto"),
    ),
    message(
        "SignatureDef",
        map_field("inputs", 1, "string", "TensorInfo"),
        map_field("outputs", 2, "string", "TensorInfo"),
        field("method_name", 3, "string"),
        map_field("defaults", 4, "string", "TensorProto"),
    ),
    message("BytesList", repeated("value", 1, "bytes")),
    message("FloatList", repeated("value", 1, "float")),
    message("Int64List", repeated("value", 1, "int64")),
    message(
        "Feature",
        oneof(
            "kind",
            field("bytes_list", 1, "BytesList"),
            field("float_list", 2, "FloatList"),
            field("int64_list", 3, "Int64List"),
        ),
    ),
    message("Features", map_field("feature", 1, "string", "Feature")),
    message("Example", field("features", 1, "Features")),
)
