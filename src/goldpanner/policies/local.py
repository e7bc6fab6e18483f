"""A Hugging Face causal language model on this machine, with our own batched sampler.

The sampler computes each distinct prefix once: samples of one prompt that agree so far share a row. It keeps keys and
values in preallocated memory, drops rows that have finished, and picks tokens by inverse CDF from the numbers that
belong to (problem, seed, index), so that a sample does not depend on what else is drawn with it. (Floating-point sums
do vary in their last bits with the size of a batch; a token changes only where its uniform falls within that distance,
about 1e-6, of a token's border: none of 780,000 did on the lab's models.)
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.policies.base import Request
from goldpanner.policies.decode import Decoder, RowCache, SharedCache, decoding_cache, last_logits
from goldpanner.policies.load import best_device, fast_bfloat16, load_pretrained
from goldpanner.policies.token_sampling import pick
from goldpanner.types import Completion, FinishReason, FloatArray, IntArray, Problem, SamplingParams
from goldpanner.verify.answer_part import apart

Response = str | Sequence[int]
"""A response to score: text (the end-of-sequence token is appended), or token ids, taken exactly as they are."""

MINUTE = {"cpu": 3 * 10**12, "other": 3 * 10**15}
"""About how many operations a minute of sampling is: so much is drawn before any of it is handed on. Tried on two CPU
cores; for GPUs a guess. Not measured while it runs: the batches, and with them the last digits of every probability,
must not depend on the clock."""


class LocalPolicy:
    """Any `AutoModelForCausalLM` and its tokenizer as a policy.

    `Completion.logprob` and `token_logprobs` are the model's own (T = 1 over the full softmax) whatever temperature,
    top-k or top-p the tokens were drawn with: that is what importance sampling and policy gradients need. At T = 1
    without cuts it is also the density the tokens were drawn from.

    `id` follows the weights: after an optimizer step it is another policy.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        device: str | torch.device | None = None,
        batch_rows: int = 4096,
        batch_bytes: int = 2**30,
        name: str = "",
    ) -> None:
        """Wrap `model` where it is, or move it to `device` (`auto`: CUDA or MPS where present, else the CPU).

        A batch holds at most `batch_rows` samples and about `batch_bytes` of keys, values and logits.
        """
        if batch_rows < 1:
            raise InputError(f"batch_rows is {batch_rows}; give a number >= 1")
        self.model = model if device is None else model.to(best_device() if device == "auto" else device)
        self.tokenizer = tokenizer
        self.batch_rows = batch_rows
        self.batch_bytes = batch_bytes
        self.name = name
        self._id: tuple[bytes, str] | None = None
        generation = getattr(model, "generation_config", None)
        ends = [tokenizer.eos_token_id, model.config.eos_token_id, getattr(generation, "eos_token_id", None)]
        self.eos_ids = sorted({i for e in ends if e is not None for i in (e if isinstance(e, list) else [e])})

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        device: str | torch.device | None = "auto",
        dtype: str = "auto",
        base: Path | str | None = None,
        **options: Any,
    ) -> "LocalPolicy":
        """Load a folder in the Hugging Face layout, or of adapters (see `load_pretrained`).

        Args:
            folder: folder, or name on the hub.
            device: `auto`, `cpu`, `cuda`, or another of torch's.
            dtype: precision of the weights; `auto`: as saved.
            base: base model of adapters, where their folder does not say it.
            options: further arguments of the constructor.
        """
        model, tokenizer = load_pretrained(folder, dtype, base)
        return cls(model, tokenizer, device=device, name=options.pop("name", Path(folder).name), **options)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @property
    def id(self) -> str:
        """16 hex digits over weights and tokenizer, computed anew when the weights have changed."""
        state = self.model.state_dict()
        marks = self._fingerprint(state)
        if self._id is None or self._id[0] != marks:
            digest = hashlib.sha256()
            for name, tensor in sorted(state.items()):
                digest.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1f".encode())
                digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
            backend = getattr(self.tokenizer, "backend_tokenizer", None)
            words = backend.to_str() if backend is not None else json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
            digest.update(f"{words}\x1f{getattr(self.tokenizer, 'chat_template', None)}\x1f{self.eos_ids}".encode())
            self._id = (marks, digest.hexdigest()[:16])
        return self._id[1]

    @staticmethod
    def _fingerprint(state: dict[str, torch.Tensor]) -> bytes:
        """Return values of every tensor, all of a small one, spread over a large one.

        PyTorch's own version counters do not do: its fused optimizers write weights without counting.
        """
        digest = hashlib.sha256()
        for tensor in state.values():
            flat = tensor.detach().flatten()
            some = flat[:: max(1, len(flat) // 16_384)]
            digest.update(some.cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.digest()

    def describe(self) -> dict[str, object]:
        """Return a JSON record: id, name, architecture, size, dtype, device, versions."""
        return {
            "kind": "local",
            "id": self.id,
            "name": self.name,
            "model_type": self.model.config.model_type,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "vocabulary": len(self.tokenizer),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "fast_bfloat16": fast_bfloat16(self.device),
            "adapters": hasattr(self.model, "peft_config"),
            "device": str(self.device),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def sample(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[list[Completion]]:
        """Yield one list of completions per request, in order. See `Policy.sample`.

        Args:
            requests: problems, each with the samples that are asked for.
            params: how they are drawn.
        """
        prompts = [self.encode_prompt(request.problem, params.template) for request in requests]
        for prompt in prompts:
            self._check_length(len(prompt) + params.max_tokens, f"a prompt of {len(prompt)} tokens + max_tokens")
        longest = max(map(len, prompts), default=0)
        cache = decoding_cache(self.model, longest, params.max_tokens)
        limit = self._rows_that_fit(params.max_tokens + (0 if cache.shares_prompts else longest))
        operations = MINUTE["cpu" if self.device.type == "cpu" else "other"]
        window = min(8 * limit, operations // (2 * sum(p.numel() for p in self.model.parameters()) * params.max_tokens))
        start = 0
        while start < len(requests):  # a window of a few batches: enough to pack well, little to hold back
            stop, rows = start, 0
            while stop < len(requests) and (stop == start or rows + len(requests[stop].indices) <= window):
                rows += len(requests[stop].indices)
                stop += 1
            yield from self._sample_window(requests[start:stop], prompts[start:stop], params, cache, limit)
            start = stop

    def logprobs(
        self, problems: Sequence[Problem], responses: Sequence[Response], template: str = "{prompt}"
    ) -> FloatArray:
        """Return log P(response | prompt) in nats of each pair, shape (len(problems),): see `token_logprobs`.

        Args:
            problems: one for each response.
            responses: texts, or token ids.
            template: prompt template.
        """
        return np.array([tokens.sum() for tokens in self.token_logprobs(problems, responses, template)], np.float64)

    def token_logprobs(
        self, problems: Sequence[Problem], responses: Sequence[Response], template: str = "{prompt}"
    ) -> list[FloatArray]:
        """Return log P(token | prompt, tokens before) in nats, one array of float64 per pair, teacher-forced.

        Exact: no sampling noise, and no underflow, since the softmax is taken in float64 log space (log P = -138,
        P = 1e-60, is as good as any).

        Args:
            problems: one for each response.
            responses: token ids, or texts: a text is followed by the end-of-sequence token, which has an entry, too.
            template: prompt template.

        Raises:
            InputError: lists of unequal lengths.
        """
        if len(problems) != len(responses):
            raise InputError(f"{len(problems)} problems but {len(responses)} responses; give one response each")
        prompts = [self.encode_prompt(problem, template) for problem in problems]
        targets = [self.encode_response(response) for response in responses]
        totals = [len(prompt) + len(target) for prompt, target in zip(prompts, targets)]
        self._check_length(max(totals, default=0), "the longest prompt and response together have")
        out: list[FloatArray] = [np.empty(0)] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda i: totals[i])
        cost = 4 * max(5 * self.model.config.get_text_config().vocab_size, 64 * 1024)  # bytes per token: about
        while order:
            size = max(1, min(len(order), self.batch_bytes // (cost * totals[order[-1]])))
            batch, order = order[-size:], order[:-size]
            scored = self._score_batch([prompts[i] for i in batch], [targets[i] for i in batch])
            for i, values in zip(batch, scored):
                out[i] = values
        return out

    def encode_prompt(self, problem: Problem, template: str = "{prompt}") -> list[int]:
        """Return the token ids of a problem's prompt.

        Args:
            problem: the problem.
            template: prompt template; `chat`: the tokenizer's own chat template.
        """
        if template == "chat":
            if not getattr(self.tokenizer, "chat_template", None):
                raise InputError("template is 'chat', but this tokenizer has no chat template; give '{prompt}'")
            turns = [{"role": "user", "content": problem.prompt}]
            try:
                ids = self.tokenizer.apply_chat_template(
                    turns, add_generation_prompt=True, tokenize=True, return_dict=False
                )
            except Exception as error:  # a template is a program of the model's
                raise InputError(
                    f"the chat template of {self.name} refuses a single message of the user: {error}; give another "
                    "--template, e.g. '{prompt}', or mend the model's"
                ) from error
        elif "{prompt}" in template:
            ids = self.tokenizer(template.replace("{prompt}", problem.prompt))["input_ids"]
        else:
            raise InputError(f"template is {template!r}; give 'chat' or a text that contains '{{prompt}}'")
        if not ids:
            raise InputError(f"the prompt of problem {problem.id} ({problem.prompt!r}) has no tokens; give some text")
        return list(ids)

    def encode_response(self, response: Response) -> list[int]:
        """Return the token ids of a response; a text gets the end-of-sequence token appended."""
        if not isinstance(response, str):
            return list(response)
        return [*self.tokenizer(response, add_special_tokens=False)["input_ids"], self.tokenizer.eos_token_id]

    def _check_length(self, tokens: int, what: str) -> None:
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and tokens > limit:
            raise InputError(f"{what}: {tokens} tokens, but the model has {limit} positions; lower max_tokens")

    def _sample_window(
        self,
        requests: Sequence[Request],
        prompts: Sequence[list[int]],
        params: SamplingParams,
        cache: RowCache | SharedCache,
        limit: int,
    ) -> Iterator[list[Completion]]:
        done: list[list[Completion]] = [[] for _ in requests]
        for batch in pack([len(prompt) for prompt in prompts], [len(r.indices) for r in requests], limit):
            uniforms = [
                rng.sample_uniforms(
                    requests[i].problem.id, requests[i].seed, requests[i].index_array[part], params.max_tokens
                )
                for i, part in batch
            ]
            owner = np.repeat(np.arange(len(batch)), [len(u) for u in uniforms])
            rows = self._draw([prompts[i] for i, _ in batch], owner, np.concatenate(uniforms), params, cache)
            completions = iter(self._complete(*rows, params))
            for (i, _), u in zip(batch, uniforms):
                done[i] += [next(completions) for _ in range(len(u))]
        for prompt, samples in zip(prompts, done):
            yield apart(samples, self.tokenizer.decode(prompt[-16:]))

    def _rows_that_fit(self, tokens: int) -> int:
        """Return how many rows a batch may have, each with `tokens` tokens of its own in the cache."""
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        cache = 2 * config.num_hidden_layers * heads * width * tokens * 4
        logits = config.vocab_size * 4 * 4  # as the model gives them, in float32, shifted, exponentiated
        return int(max(1, min(self.batch_rows, self.batch_bytes // (cache + logits))))

    def _draw(
        self,
        prompts: Sequence[list[int]],
        owner: IntArray,
        uniforms: FloatArray,
        params: SamplingParams,
        cache: RowCache | SharedCache,
    ) -> tuple[IntArray, FloatArray, IntArray, NDArray[np.bool_]]:
        """Return tokens and log-probabilities, shape (rows, max_tokens), lengths, and which rows ended by themselves.

        `owner` (ascending) names each row's prompt. Past a row's length the entries mean nothing.
        """
        n, width = uniforms.shape
        u = torch.from_numpy(uniforms).to("cpu" if self.device.type == "mps" else self.device)  # MPS has no float64
        tokens = torch.zeros((n, width), dtype=torch.int64, device=u.device)
        logprobs = torch.zeros((n, width), dtype=torch.float64, device=u.device)
        length = torch.full((n,), width, device=u.device)
        ended = torch.zeros(n, dtype=torch.bool, device=u.device)
        eos = torch.tensor(self.eos_ids, device=u.device)
        rows = torch.arange(n, device=u.device)  # the samples that have not ended
        node = torch.from_numpy(owner).to(u.device)  # the decoder's row that holds each one's prefix
        with evaluation(self.model):
            decoder = Decoder(self.model, cache, prompts, n, self.tokenizer.pad_token_id or 0)
            for t in range(width):
                token, logprob = pick(decoder.logits.to(u.device, torch.float32), u[rows, t], params, node)
                tokens[rows, t], logprobs[rows, t] = token, logprob
                stops = torch.isin(token, eos)
                if params.stop:
                    stops |= self._hits_stop(tokens[rows, : t + 1], params.stop)
                length[rows[stops]], ended[rows[stops]] = t + 1, True
                rows, node, token = rows[~stops], node[~stops], token[~stops]
                if not len(rows) or t + 1 == width:
                    break
                node = decoder.branch(node, token)
        return tokens.cpu().numpy(), logprobs.cpu().numpy(), length.cpu().numpy(), ended.cpu().numpy()

    def _hits_stop(self, tokens: torch.Tensor, stop: Sequence[str]) -> torch.Tensor:
        tail = max(len(text.encode()) for text in stop) + 1  # a token carries at least a byte of text
        texts = self.tokenizer.batch_decode(tokens[:, -tail:].tolist(), clean_up_tokenization_spaces=False)
        return torch.tensor([any(s in text for s in stop) for text in texts], device=tokens.device)

    def _complete(
        self,
        tokens: IntArray,
        logprobs: FloatArray,
        length: IntArray,
        ended: NDArray[np.bool_],
        params: SamplingParams,
    ) -> list[Completion]:
        ids = [row[:size] for row, size in zip(tokens.tolist(), length.tolist())]
        ends = set(self.eos_ids)
        bodies = [row[:-1] if row[-1] in ends else row for row in ids]
        texts = self.tokenizer.batch_decode(bodies, clean_up_tokenization_spaces=False)
        out = []
        for row, text, values, stopped in zip(ids, texts, logprobs, ended):
            for stop in params.stop:
                text = text.split(stop, 1)[0]
            each = tuple(values[: len(row)].tolist())
            finish: FinishReason = "stop" if stopped else "length"
            out.append(Completion(text, tuple(row), sum(each), finish, each))
        return out

    def _score_batch(self, prompts: Sequence[list[int]], targets: Sequence[list[int]]) -> list[FloatArray]:
        first = min(map(len, prompts)) - 1  # logits before this position are needed by nobody
        width = max(len(p) + len(t) for p, t in zip(prompts, targets))
        ids = np.zeros((len(prompts), width), np.int64)  # padded on the right: causal attention never looks there
        for row, prompt, target in zip(ids, prompts, targets):
            row[: len(prompt) + len(target)] = prompt + target
        with evaluation(self.model):
            inputs = torch.from_numpy(ids).to(self.device)
            logits = self.model(inputs, use_cache=False, **last_logits(self.model, width - first)).logits
            logits = logits[:, logits.shape[1] - (width - first) :]
            row = np.repeat(np.arange(len(targets)), [len(t) for t in targets])
            at = np.concatenate([np.arange(len(t)) + len(p) - 1 - first for p, t in zip(prompts, targets)])
            wanted = torch.tensor([token for target in targets for token in target])
            picked = logits[torch.from_numpy(row), torch.from_numpy(at)].cpu().double().log_softmax(-1)
            values = picked.gather(1, wanted[:, None]).squeeze(1).numpy()
        return np.split(values, np.cumsum([len(t) for t in targets])[:-1])


def pack(lengths: Sequence[int], counts: Sequence[int], limit: int) -> list[list[tuple[int, slice]]]:
    """Cut requests of `counts` samples with prompts of `lengths` tokens into batches of at most `limit` rows.

    Returns batches of (request, slice of its samples). Prompts of one length go together; lengths are mixed (and
    padded) only to fill a batch that is less than half full.
    """
    batches: list[list[tuple[int, slice]]] = []
    size, previous = limit, -1
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        start = 0
        while start < counts[i]:
            if size == limit or (lengths[i] != previous and 2 * size >= limit):
                batches.append([])
                size = 0
            stop = min(counts[i], start + limit - size)
            batches[-1].append((i, slice(start, stop)))
            size, start, previous = size + stop - start, stop, lengths[i]
    return batches


@contextmanager
def evaluation(model: Any) -> Iterator[None]:
    """Run without gradients and without dropout; the model's mode is put back."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)
