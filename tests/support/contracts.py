"""Build preprocessing contracts for images."""

from typing import Any

from shared.datasets.info import DatasetInfo, TargetKind
from shared.preprocessing.contract import ImageContract, build_contract
from shared.spec.preprocessing import Preprocessing

RGB = DatasetInfo((32, 32, 3), images=True, targets=TargetKind.CLASSES, train_rows=10, test_rows=0)


def build_image_contract(info: DatasetInfo = RGB, **options: Any) -> ImageContract:
    contract = build_contract(Preprocessing(**options), info)
    assert isinstance(contract, ImageContract)
    return contract
