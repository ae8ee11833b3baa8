"""How fast the layer and the decode step are, beside the floor that the card's two rates set."""

from dataclasses import dataclass

import torch
from figures import DEVICE, Figures, capture, kernel_time, peak_gib, time_ms

from sculptor.mom.engine.graph import StepGraph
from sculptor.mom.layers.config import MixerConfig
from sculptor.mom.layers.mixer import Mixer
from sculptor.mom.models.config import MomConfig
from sculptor.mom.models.modeling import MomForCausalLM
from sculptor.mom.models.packing import pack_batch

CARD_FLOPS, CARD_BYTES = 780e12, 4.3e12
"""Assumed until `measure_card` has run: bf16 products per second, bytes copied per second."""


SHAPES = {
    "d1024": MixerConfig(d_model=1024, heads=4, key_dim=256, value_dim=256, conv="memory"),
    "d512": MixerConfig(d_model=512, heads=4, key_dim=128, value_dim=128, conv="memory"),
    "d384": MixerConfig(d_model=384, heads=6, key_dim=64, value_dim=64, conv="memory"),
}
"""The layers of the specification, the convolution inside the memories as published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """``sequences`` of ``length`` tokens each."""

    sequences: int
    length: int

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return self.sequences * self.length


WORKS = [
    Work(sequences=2, length=4096),
    Work(sequences=16, length=4096),
    Work(sequences=1, length=65_536),
]


def measure_card(figures: Figures, *, side: int, megabytes: int) -> None:
    """Measure the two ceilings: a bf16 matrix product on random data, and a large copy."""
    if not figures.wants("ceilings", "card"):
        return
    a, b = (torch.randn(side, side, device=DEVICE).bfloat16() for _ in range(2))
    product = time_ms(lambda: a @ b, runs=10)["median_ms"]
    source = torch.randn(megabytes * 2**18, device=DEVICE)
    target = torch.empty_like(source)
    copied = time_ms(lambda: target.copy_(source), runs=10)["median_ms"]
    figures.add(
        "ceilings", "card", tflops=2 * side**3 / product / 1e9,
        terabytes_per_s=2 * source.nbytes / copied / 1e9,
        device=torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu",
        torch=torch.__version__,
    )  # fmt: skip


def time_layers(figures: Figures, shapes: dict[str, MixerConfig], works: list[Work]) -> None:
    """Time a layer forward and backward: wall clock, kernels alone, one graph, peak memory."""
    for work in works:
        for name, shape in shapes.items():
            item = f"{name} {work.sequences}x{work.length}"
            if not figures.wants("layer", item):
                continue
            step = layer_step(Mixer(shape).to(DEVICE), work)
            told: dict[str, object] = {"peak_gib": peak_gib(step)}
            told |= {**time_ms(step, runs=10), **kernel_time(step)}
            replay = time_ms(capture(step), runs=10)["median_ms"]
            floor = floor_ms(shape, work.tokens, figures)
            best = told.get("kernel_ms", replay)
            assert isinstance(best, float)
            figures.add(
                "layer", item, tokens=work.tokens, **told, graph_ms=replay, floor_ms=floor,
                share_of_floor=floor / best,
            )  # fmt: skip


def layer_step(mixer: Mixer, work: Work):
    """Return a training step's forward and backward pass of ``mixer`` over random bf16 rows."""
    x = torch.randn(work.tokens, mixer.config.d_model, device=DEVICE).bfloat16()
    x.requires_grad_(True)
    dy = torch.randn_like(x)
    cu = torch.arange(work.sequences + 1, device=DEVICE) * work.length
    state = mixer.new_state(work.sequences)

    def step() -> None:
        x.grad = None
        mixer.zero_grad()
        y, _, _ = mixer(
            x, cu_seqlens=cu, state=state, max_seqlen=work.length, fresh=True, carries=False
        )
        y.backward(dy)

    return step


def floor_ms(c: MixerConfig, tokens: int, figures: Figures) -> float:
    """Return the larger of the arithmetic and the byte floor of a forward and backward pass."""
    flops, rate = CARD_FLOPS, CARD_BYTES
    for row in figures.find("ceilings"):
        flops, rate = float(str(row["tflops"])) * 1e12, float(str(row["terabytes_per_s"])) * 1e12
    active, chunk = c.slots, 64
    dk, dv, key, value = c.key_dim, c.value_dim, c.key_width, c.value_width
    rule = 6 * chunk * dk + 4 * chunk * dv + 6 * dk * dv + 2 * chunk * chunk / 3
    rule *= c.heads * active
    project = 2 * c.d_model * (key + 2 * value) + 2 * c.d_model * c.memories
    project += active * 2 * c.d_model * (key + value + 2 * c.heads)
    rows = 2 * c.d_model + 2 * key + active * (2 * (key + value) + value) + 2 * value
    rows += active * 2 * c.heads * dk * dv / chunk
    return 1e3 * max(3 * tokens * (rule + project) / flops, 3 * 2 * tokens * rows / rate)


def time_decode(
    figures: Figures, shapes: dict[str, MixerConfig], *, layers: int, tokens: int
) -> None:
    """Time a layer-step at batch 1, as one CUDA graph; the MLP is kept too small to matter."""
    for name, shape in shapes.items():
        if not figures.wants("decode", name):
            continue
        config = MomConfig(
            vocab_size=256, d_model=shape.d_model, layers=layers, mlp_width=16, conv=shape.conv,
            heads=shape.heads, key_dim=shape.key_dim, value_dim=shape.value_dim,
        )  # fmt: skip
        model = MomForCausalLM(config, compute_dtype=torch.bfloat16).to(DEVICE).eval()
        model.store_matrices(torch.bfloat16)
        told = {k: v * 1e3 / layers for k, v in _plain_step(model).items()}
        if DEVICE.type == "cuda":
            told |= {k: v / layers for k, v in _graph_steps(model, tokens).items()}
        figures.add("decode", name, layers=layers, **told)


def _plain_step(model: MomForCausalLM) -> dict[str, float]:
    token = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    state = model.new_state(1)
    times = time_ms(lambda: model.step(token, state=state), runs=10)
    return {"plain_layer_us": times["median_ms"]}


def _graph_steps(model: MomForCausalLM, tokens: int) -> dict[str, float]:
    """Return microseconds per token under a graph: median, fastest and slowest run."""
    token = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    graph = StepGraph(model)
    times = time_ms(lambda: [graph.step(token) for _ in range(tokens)], runs=10)
    return {f"{k[:-3]}_layer_us": v * 1e3 / tokens for k, v in times.items() if k != "runs"}


def read_long(figures: Figures, shape: MixerConfig, *, layers: int, marks: list[int]) -> None:
    """Read a long text in pieces; show that neither state nor memory grows."""
    todo = [m for m in marks if figures.wants("length", str(m))]
    if not todo:
        return
    config = MomConfig(
        vocab_size=256, d_model=shape.d_model, layers=layers, mlp_width=2 * shape.d_model,
        heads=shape.heads, key_dim=shape.key_dim, value_dim=shape.value_dim,
    )  # fmt: skip
    model = MomForCausalLM(config, compute_dtype=torch.bfloat16).to(DEVICE).eval()
    for mark in todo:
        state, done = model.new_state(1), 0

        def read(state=state, done=done, mark=mark) -> None:
            with torch.inference_mode():
                while done < mark:
                    count = min(8192, mark - done)
                    draw = torch.randint(256, (1, count), device=DEVICE)
                    state = model.model(pack_batch(draw), state=state).state
                    done += count

        peak = peak_gib(read)
        took = time_ms(read, runs=1, warm=0)["median_ms"]
        figures.add(
            "length", str(mark), state_bytes=state.nbytes, tokens_per_s=mark / took * 1e3,
            peak_gib=peak,
        )  # fmt: skip


def train_rate(figures: Figures, shapes: dict[str, MixerConfig], works: list[Work]) -> None:
    """Time whole training steps of an eight-layer model: forward, backward and AdamW."""
    for name, shape in shapes.items():
        for work in works:
            item = f"{name} {work.sequences}x{work.length}"
            if not figures.wants("train", item):
                continue
            config = MomConfig(
                vocab_size=2048, d_model=shape.d_model, layers=8, heads=shape.heads,
                key_dim=shape.key_dim, value_dim=shape.value_dim,
                mlp_width=(shape.d_model * 11 // 4 + 127) // 128 * 128,
            )  # fmt: skip
            model = MomForCausalLM(config, compute_dtype=torch.bfloat16).to(DEVICE)
            adam = torch.optim.AdamW(
                (p for p in model.parameters() if p.numel()),
                lr=1e-3,
                capturable=DEVICE.type == "cuda",
            )
            packed = pack_batch(torch.randint(2048, (work.sequences, work.length), device=DEVICE))
            targets = torch.randint(2048, (work.tokens,), device=DEVICE)
            weights = torch.ones(work.tokens, device=DEVICE)

            def step(model=model, adam=adam, packed=packed, targets=targets, weights=weights):
                adam.zero_grad()
                model.loss(
                    packed, targets=targets, weights=weights, balance_weight=0.01
                ).total.backward()
                adam.step()

            told = time_ms(step, runs=5)
            replay = time_ms(capture(step), runs=5)["median_ms"]
            figures.add(
                "train", item, **told, graph_ms=replay,
                tokens_per_s=work.tokens / min(replay, told["median_ms"]) * 1e3,
            )  # fmt: skip
