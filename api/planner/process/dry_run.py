"""The check that every spec passes before it is queued: worked out, not tried."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from math import ceil

from api.planner.messages import Plan
from shared.datasets.info import DatasetFacts
from shared.datasets.inline import read_inline
from shared.datasets.splits import facts_of, part_sizes
from shared.errors import Fault, InvalidRequest
from shared.networks.augmentation import augmentation_layers
from shared.networks.builder import layer_table
from shared.networks.layer_row import LayerRow
from shared.networks.objectives import (
    check_class_weight,
    check_monitors,
    check_places,
    choose_objective,
    chosen_metrics,
)
from shared.networks.optimizers import make_optimizer
from shared.preprocessing.contract import contract_of
from shared.registry.pretrained import Base
from shared.spec.training import TrainingSpec


def plan(
    spec: TrainingSpec, max_parameters: int, uploaded: DatasetFacts | None = None, base: Base | None = None
) -> Plan:
    """Opens no file and allocates no weights. Raises InvalidRequest where the spec cannot be trained.

    `uploaded` is what the data set holds that the spec names, where users brought it; `base` the version to start from.
    """
    facts = facts_of(spec.dataset, uploaded)
    rows = part_sizes(spec.dataset, facts)
    if base is None:
        network, contract = spec.network, contract_of(spec.preprocessing, facts)
    else:
        network = base.network(facts, spec.network.freeze)
        contract = base.contract_for(spec.preprocessing, facts)
    augmentation_layers(spec.augmentation, contract)
    table = layer_table(network, contract.input_shape, max_parameters)
    check_freeze(network.freeze, table)
    output_shape = table[-1].output_shape if table else contract.input_shape
    objective = choose_objective(spec.training.loss, facts, network, output_shape)
    if spec.dataset.inline is not None and spec.dataset.classes is None:
        _, _, y = read_inline(spec.dataset.inline)
        check_places(objective, y)
    training = spec.training
    metrics = chosen_metrics(training.metrics, objective)
    check_monitors(training, metrics, rows.validation)
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
        loss=objective.loss,
        metrics=metrics,
        optimizer=type(make_optimizer(training, training.epochs * steps_per_epoch)).__name__,
        rows=rows,
        steps_per_epoch=steps_per_epoch,
    )


def check_freeze(freeze: tuple[str, ...], table: Sequence[LayerRow]) -> None:
    """Raises InvalidRequest for a pattern that no layer's name matches, or when nothing is left to learn."""
    for index, pattern in enumerate(freeze):
        if not any(fnmatchcase(row.name, pattern) for row in table):
            detail = f"No layer's name matches {pattern!r}; there are {', '.join(row.name for row in table)}."
            raise InvalidRequest("The layers cannot be frozen.", (Fault(f"#/network/freeze/{index}", detail),))
    if freeze and not any(row.trainable_parameters for row in table):
        fault = Fault("#/network/freeze", "Every layer with weights is frozen: nothing is left to learn.")
        raise InvalidRequest("The layers cannot be frozen.", (fault,))
