import pytest
import torch


@pytest.fixture(autouse=True)
def _exact_and_repeatable() -> None:
    """Double precision, so that a leak shows as a leak and not as rounding; one seed a test."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1234)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(before)
