"""Describe the paths of other systems for the OpenAPI document."""

from typing import Any

Json = dict[str, Any]
JSON = "application/json"
ANY: Json = {}
ROWS: Json = {"type": "array", "minItems": 1, "items": ANY, "description": "Tensors, rows, texts, or images in base64."}
TEXT: Json = {"schema": {"type": "string"}}
IMAGE: Json = {"schema": {"type": "string", "format": "binary"}}
TF_BODY: Json = {
    "type": "object",
    "properties": {"signature_name": {"type": "string"}, "instances": ROWS, "inputs": ANY},
    "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
}
EXAMPLES_BODY: Json = {"type": "object", "required": ["examples"], "properties": {"examples": ROWS}}
MLFLOW_BODY: Json = {
    "type": "object",
    "properties": {"dataframe_split": ANY, "dataframe_records": ANY, "instances": ANY, "inputs": ANY, "params": ANY},
    "oneOf": [{"required": [key]} for key in ("dataframe_split", "dataframe_records", "instances", "inputs")],
}
TENSOR: Json = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string", "examples": ["FP32", "UINT8", "BYTES"]},
        "parameters": {"type": "object"},
        "data": ANY,
    },
}
INFER_BODY: Json = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "minItems": 1, "items": TENSOR},
        "outputs": {"type": "array", "items": {"type": "object"}},
        "parameters": {"type": "object"},
    },
}
LABEL: Json = {"type": "object", "properties": {"label": {"type": "string"}, "score": {"type": "number"}}}
OBJECT: Json = {"type": "object"}
TF, OIP, MLFLOW, HF = "TensorFlow Serving", "Open Inference Protocol", "MLflow and SageMaker", "Hugging Face"


def describe_foreign_paths() -> Json:
    """Return the paths of TensorFlow Serving, the Open Inference Protocol, MLflow and Hugging Face."""
    paths: Json = {}
    for versions, suffix in (("", ""), ("/versions/{version}", "_version"), ("/labels/{label}", "_label")):
        model = f"/v1/models/{{model}}{versions}"
        paths[model] = {"get": _describe(f"tf_status{suffix}", TF, "Show the status of a model.", model)}
        path = f"{model}/metadata"
        paths[path] = {"get": _describe(f"tf_metadata{suffix}", TF, "Show the signature of a model.", path)}
        for verb, body in (("predict", TF_BODY), ("classify", EXAMPLES_BODY), ("regress", EXAMPLES_BODY)):
            path = f"{model}:{verb}"
            paths[path] = {
                "post": _describe(
                    f"tf_{verb}{suffix}", TF, f"{verb.capitalize()} as TensorFlow Serving does.", path, body
                )
            }
    for path, name, summary in (
        ("/v1/models", "tf_models", "List the names of the models."),
        ("/v1/config", "tf_config", "Show the status of each model."),
    ):
        paths[path] = {"get": _describe(name, TF, summary, path)}
    for path, name, summary in (
        ("/v2", "oip_server", "Show the name and the extensions of the server."),
        ("/v2/health/live", "oip_live", "Report that the server is alive."),
        ("/v2/health/ready", "oip_ready", "Report that the server is ready."),
        ("/v2/models", "oip_models", "List the names of the models."),
        ("/v2/models/stats", "oip_statistics", "Show the statistics of the versions in memory."),
    ):
        paths[path] = {"get": _describe(name, OIP, summary, path)}
    for versions, suffix in (("", ""), ("/versions/{version}", "_version")):
        model = f"/v2/models/{{model}}{versions}"
        for end, name, summary in (
            ("", "metadata", "Show the inputs and outputs of a model."),
            ("/ready", "model_ready", "Report that a model is ready."),
            ("/config", "config", "Show the configuration of a model in the form of Triton."),
            ("/stats", "model_statistics", "Show the statistics of a model."),
        ):
            paths[model + end] = {"get": _describe(f"oip_{name}{suffix}", OIP, summary, model + end)}
        path = f"{model}/infer"
        summary = "Predict tensors, images or texts."
        paths[path] = {"post": _describe(f"oip_infer{suffix}", OIP, summary, path, INFER_BODY)}
    paths["/v2/repository/index"] = {
        "post": _describe("oip_index", OIP, "List the models and their states.", "/v2/repository/index", OBJECT, OBJECT)
    }
    paths["/v2/repository/index"]["post"]["responses"]["200"]["content"][JSON]["schema"] = {
        "type": "array",
        "items": OBJECT,
    }
    for verb in ("load", "unload"):
        path = f"/v2/repository/models/{{model}}/{verb}"
        paths[path] = {"post": _describe(f"oip_{verb}", OIP, f"{verb.capitalize()} a model.", path)}
    for path, name in (("/invocations", "invoke_default"), ("/models/{model}/invocations", "invoke_model")):
        operation = _describe(name, MLFLOW, "Predict data frames, tensors, images or texts.", path, MLFLOW_BODY)
        operation["requestBody"]["content"] |= {
            "text/csv": {"schema": {"type": "string"}},
            "application/vnd.apache.parquet": IMAGE,
            "image/png": IMAGE,
            "image/jpeg": IMAGE,
        }
        paths[path] = {"post": operation}
    operation = _describe("classify", HF, "Classify an image or texts.", "/models/{model}", HF_BODY)
    operation["requestBody"]["content"] |= {"image/png": IMAGE, "image/jpeg": IMAGE, "text/plain": TEXT}
    ranked = {"type": "array", "items": LABEL}
    operation["responses"]["200"]["content"][JSON]["schema"] = {
        "anyOf": [ranked, {"type": "array", "items": ranked, "description": "One list for each text."}]
    }
    paths["/models/{model}"] = {"post": operation}
    return paths


HF_BODY: Json = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "inputs": {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
            "description": "An image in base64; for a version of texts, a text or a list of texts.",
        },
        "parameters": {"type": "object", "properties": {"top_k": {"type": "integer", "minimum": 1}}},
    },
}


def _describe(name: str, tag: str, summary: str, path: str, body: Json | None = None, answer: Json = OBJECT) -> Json:
    """Describe an operation that answers JSON, also its errors, in the form of the other system."""
    names = [part.partition("}")[0] for part in path.split("{")[1:]]
    operation: Json = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "description": f"The call of {tag}, whose own documentation describes it.",
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
        "responses": {
            "200": {"description": "OK", "content": {JSON: {"schema": dict(answer)}}},
            "default": {
                "description": f"An error, in the form of {tag}; a problem if the host or the origin is refused.",
                "content": {
                    JSON: {"schema": OBJECT},
                    "text/plain": {"schema": {"type": "string"}},
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
                },
            },
        },
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": body}}}
    return operation
