"""Status codes and dtypes, by the names that gRPC, TensorFlow and TF Serving give them."""

from __future__ import annotations

# The status codes in the order of their numbers, each with the HTTP status that TF Serving's REST
# API answers with.
HTTP_STATUS = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
# The code for an HTTP status; where several codes share a status, the most likely one. Proxies and
# the preview send 413. A gateway sends 502 if its server does not answer, as while it starts.
_CODE = {status: code for code, status in HTTP_STATUS.items()} | {
    400: "INVALID_ARGUMENT",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
}

# NumPy dtypes by their names in `tensorflow.DataType`. Strings are arrays of objects, each bytes.
NUMPY_DTYPES = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
    "DT_INT8": "int8",
    "DT_INT16": "int16",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT8": "uint8",
    "DT_UINT16": "uint16",
    "DT_UINT32": "uint32",
    "DT_UINT64": "uint64",
    "DT_BOOL": "bool",
    "DT_STRING": "object",
}
# The field of a TensorProto that holds the values of a NumPy dtype one by one. The integers of at
# most 32 bits share a field, and float16 is held as its bits.
VALUE_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "float16": "half_val",
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
    "object": "string_val",
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int_val"),
}


def code_of_number(number: int) -> str:
    """The status code with this number in gRPC; "UNKNOWN" for a number that is not in use."""
    names = list(HTTP_STATUS)
    return names[number] if 0 <= number < len(names) else "UNKNOWN"


def code_of_status(status: int) -> str:
    """The status code that goes with an HTTP status; "UNKNOWN" for a status that is not in use."""
    return _CODE.get(status, "UNKNOWN")
