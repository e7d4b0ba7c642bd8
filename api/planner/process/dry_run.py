"""Check a spec before it is queued, and compute the plan of its training without data or weights."""

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from math import ceil, prod

from api.planner.messages import Plan
from shared.datasets.info import DatasetInfo
from shared.datasets.splits import PartSizes, compute_part_sizes, describe_dataset
from shared.datasets.validation import check_validation_labels
from shared.errors import MAX_FAULTS, Fault, InvalidRequest, overlaps
from shared.networks.allow_list import LAYERS, OWN_LAYERS
from shared.networks.augmentation import make_augmentation_layers
from shared.networks.builder import compute_layer_table, list_weights
from shared.networks.initial_weights import read_initial_weights
from shared.networks.layer_factory import LAYERS_POINTER, check_layer
from shared.networks.layer_row import LayerRow
from shared.networks.metrics import make_metrics, name_metric
from shared.networks.objectives import (
    check_class_weight,
    check_monitors,
    choose_objective,
    find_appended_activation,
)
from shared.networks.optimizers import make_optimizer
from shared.networks.vocabulary import check_vocabulary
from shared.networks.weights_file import check_weights
from shared.preprocessing.contract import Contract, ImageContract, build_contract
from shared.registry.pretrained import PretrainedVersion
from shared.spec.dataset import ValidationDataset, ValidationFolds
from shared.spec.network import LayerSpec
from shared.spec.training import TrainingSpec


def plan_training(
    spec: TrainingSpec,
    max_parameters: int,
    max_prepared_bytes: int,
    uploaded: DatasetInfo | None = None,
    base: PretrainedVersion | None = None,
    validation: DatasetInfo | None = None,
    weights: Sequence[tuple[int, ...]] | None = None,
) -> Plan:
    """Compute the plan of a training. Opens no file and allocates no weights.

    Args:
        max_parameters: the most weights of the network.
        max_prepared_bytes: the most bytes of all images after they are resized.
        uploaded: description of the data set, if the spec names an uploaded one.
        base: the version whose network and weights the training starts from, if the spec names one.
        validation: description of the data set that `validation` names, if it names one.
        weights: the shapes of the arrays that `network.weights` names, if it names some.

    Raises InvalidRequest if the spec cannot be trained: with the first fault, and with those of other layers and of the
    optimizer that it hides.
    """
    try:
        return _plan(spec, max_parameters, max_prepared_bytes, uploaded, base, validation, weights)
    except InvalidRequest as refused:
        further = [fault for fault in _list_further_faults(spec) if not overlaps(fault, refused.faults)]
        raise InvalidRequest(refused.detail, (*refused.faults, *further)[:MAX_FAULTS]) from None


def _list_further_faults(spec: TrainingSpec) -> list[Fault]:
    """List the faults of the parts that do not depend on each other: of each layer, and of the optimizer."""
    checks: list[Callable[[], object]] = [
        partial(check_layer, layer.layer, layer.arguments, LAYERS | OWN_LAYERS, pointer)
        for layer, pointer in _iterate_layers(spec.network.layers or (), LAYERS_POINTER)
    ]
    checks.append(partial(make_optimizer, spec.training, max(1, spec.training.epochs)))
    found: list[Fault] = []
    for check in checks:
        try:
            check()
        except InvalidRequest as refused:
            found += refused.faults
    return found


def _iterate_layers(layers: Sequence[LayerSpec], pointer: str) -> Iterator[tuple[LayerSpec, str]]:
    """Yield each layer with its pointer; in place of a `Residual` or a wrapper, the layers inside."""
    for index, layer in enumerate(layers):
        if layer.layers is not None:
            yield from _iterate_layers(layer.layers, f"{pointer}/{index}/layers")
        else:
            yield layer, f"{pointer}/{index}"


def _plan(
    spec: TrainingSpec,
    max_parameters: int,
    max_prepared_bytes: int,
    uploaded: DatasetInfo | None,
    base: PretrainedVersion | None,
    validation: DatasetInfo | None,
    weights: Sequence[tuple[int, ...]] | None,
) -> Plan:
    info = describe_dataset(spec.dataset, uploaded)
    rows = compute_part_sizes(spec.dataset, info, validation)
    if base is None:
        network, contract = spec.network, build_contract(spec.preprocessing, info)
    else:
        network = base.adapt_network(info, spec.network.freeze)
        contract = base.adapt_contract(spec.preprocessing, info)
    check_prepared_size(contract, rows, info, max_prepared_bytes)
    check_vocabulary(network, contract)
    make_augmentation_layers(spec.augmentation, contract)
    appended = find_appended_activation(spec.training.loss, network)
    table = compute_layer_table(network, contract.input_shape, max_parameters, appended)
    check_freeze(network.freeze, table)
    if network.initial_weights is not None:
        read_initial_weights(network.initial_weights, list_weights(network, contract.input_shape, appended))
    if weights is not None:
        check_weights(weights, list_weights(network, contract.input_shape, appended))
    output_shape = table[-1].output_shape if table else contract.input_shape
    objective = choose_objective(spec.training.loss, info, network, output_shape)
    if validation is not None and isinstance(spec.dataset.validation, ValidationDataset):
        name = spec.dataset.validation.dataset
        check_validation_labels(objective.classes, objective.labels, info, validation, name)
    training = spec.training
    metrics = list(map(name_metric, make_metrics(training.metrics, objective)))
    check_monitors(training, metrics, rows.validation)
    check_publishes(spec)
    check_class_weight(training.class_weight, objective)
    steps_per_epoch = ceil(rows.train / training.batch_size)
    return Plan(
        model=spec.model,
        input_shape=contract.input_shape,
        output_shape=output_shape,
        layers=table,
        parameters=sum(row.parameters for row in table),
        trainable_parameters=sum(row.trainable_parameters for row in table),
        classes=objective.classes,
        labels=objective.labels,
        loss=objective.loss,
        metrics=metrics,
        optimizer=type(make_optimizer(training, training.epochs * steps_per_epoch)).__name__,
        rows=rows,
        steps_per_epoch=steps_per_epoch,
    )


def check_publishes(spec: TrainingSpec) -> None:
    """Check that a cross-validation asks for nothing that needs a version. Raises InvalidRequest."""
    if not isinstance(spec.dataset.validation, ValidationFolds):
        return
    asked = {"baselines": spec.baselines, "reuse": spec.reuse, "training/tensorboard": spec.training.tensorboard}
    for pointer, is_asked in asked.items():
        if is_asked:
            detail = "This needs a version, and a cross-validation publishes none. Leave it out."
            raise InvalidRequest("The spec contradicts itself.", (Fault(f"#/{pointer}", detail),))


def check_prepared_size(contract: Contract, rows: PartSizes, info: DatasetInfo, max_bytes: int) -> None:
    """Check the size of all images after they are resized. Raises InvalidRequest above the limit."""
    if not isinstance(contract, ImageContract) or contract.is_identity_for(info.shape):
        return
    number, row_bytes = rows.train + rows.validation + rows.test, prod(contract.input_shape)
    if number * row_bytes > max_bytes:
        detail = (
            f"{number:,} images of {' × '.join(map(str, contract.input_shape))} take {number * row_bytes:,} bytes on "
            f"the disk of the worker; the limit is {max_bytes:,} (TRAINYARD_MAX_DATASET_BYTES). Choose a smaller "
            "size, or limit the rows with `dataset.limit`."
        )
        raise InvalidRequest("The preprocessed images are too large.", (Fault("#/preprocessing/size", detail),))


def check_freeze(freeze: tuple[str, ...], table: Sequence[LayerRow]) -> None:
    """Check the patterns of `network.freeze` against the names of the layers.

    Raises InvalidRequest if a pattern matches no layer, or if every layer with weights is frozen.
    """
    for index, pattern in enumerate(freeze):
        if not any(fnmatchcase(row.name, pattern) for row in table):
            detail = f"No layer name matches {pattern!r}. The layers are {', '.join(row.name for row in table)}."
            raise InvalidRequest("The layers cannot be frozen.", (Fault(f"#/network/freeze/{index}", detail),))
    if freeze and not any(row.trainable_parameters for row in table):
        fault = Fault(
            "#/network/freeze", "Every layer with weights is frozen, so no weight can be trained. Freeze fewer layers."
        )
        raise InvalidRequest("The layers cannot be frozen.", (fault,))
