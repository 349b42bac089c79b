"""Claims about sparse rows under one budget: the merge of their sequences is the greedy algorithm over all pairs."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import dynamic
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.instances import seeds
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.regression import omp_gram
from sparsetheory.typing import Float64Array, IndexArray

# Unit columns with a condition of at most some 1e4, as in the other claims of this family.
_ROUNDING = 1e-10
_KINDS = ("gaussian", "common factor", "scales", "suppressors", "copies", "zero column", "few rows")


@dataclass(frozen=True, eq=False)
class Table:
    """A fixed table U, the matrix R that is to be ``U V'``, and a budget for V."""

    U: Float64Array
    R: Float64Array
    n_nonzero: int

    @property
    def n_rows(self) -> int:
        """Rows of V."""
        return self.R.shape[1]

    @property
    def scale(self) -> float:
        """Energy of the matrix."""
        return float(np.square(self.R).sum())

    def solve(self, rule: str = "gain") -> "dynamic.GreedyRows":
        """Return the rows of the package."""
        gram, correlations = tensor(self.U.T @ self.U), tensor(self.R.T @ self.U)
        return dynamic.greedy_rows(gram, correlations, self.n_nonzero, rule=rule)

    def error(self, row: int, columns: IndexArray | list[int]) -> float:
        """Return the least squared error of a row on some columns, by least squares on the table itself."""
        chosen = self.U[:, np.asarray(columns, dtype=np.intp)]
        norms = np.linalg.norm(chosen, axis=0)
        unit = chosen[:, norms > 0] / norms[norms > 0]
        rest = self.R[:, row] - unit @ np.linalg.lstsq(unit, self.R[:, row], rcond=1e-7)[0]
        return float(rest @ rest)

    def total(self, supports: list[list[int]]) -> float:
        """Return the least squared error of the whole matrix on supports of the rows."""
        return sum(self.error(row, columns) for row, columns in enumerate(supports))

    def greedy_errors(self) -> list[float]:
        """Return the errors of the greedy algorithm over all pairs of row and column, after each of its steps."""
        supports: list[list[int]] = [[] for _ in range(self.n_rows)]
        errors = [self.error(row, []) for row in range(self.n_rows)]
        path = [sum(errors)]
        # What one entry more gains changes only in the row that got the last one.
        nexts = [self._best(row, supports[row], errors[row]) for row in range(self.n_rows)]
        for _ in range(self.n_nonzero):
            row = int(np.argmax([gain for gain, _ in nexts]))
            gain, column = nexts[row]
            if column < 0:
                break
            supports[row].append(column)
            errors[row] -= gain
            path.append(sum(errors))
            nexts[row] = self._best(row, supports[row], errors[row])
        return path

    def _best(self, row: int, columns: list[int], error: float) -> tuple[float, int]:
        free = [j for j in range(self.U.shape[1]) if j not in columns]
        tried = [(error - self.error(row, [*columns, j]), j) for j in free]
        return max(tried, key=lambda found: found[0], default=(-1.0, -1))


def _draw(seed: int, kind: str, n_rows: int, dim: int, share: float) -> Table:
    rng = np.random.default_rng(seed)
    U = rng.standard_normal((2 * dim + 3, dim))
    if kind == "common factor":
        U += rng.standard_normal((len(U), 1))
    elif kind == "scales":
        U *= np.exp(2.0 * rng.standard_normal(dim))
    elif kind == "copies":
        U[:, -1] = -2.0 * U[:, 0]
    elif kind == "zero column":
        U[:, 0] = 0.0
    elif kind == "few rows":
        U = U[: dim - 1]
    V = rng.standard_normal((n_rows, dim)) * (rng.random((n_rows, dim)) < 0.6)
    V *= np.exp(rng.standard_normal((n_rows, 1)))
    if kind == "suppressors":
        # Two columns that explain together what neither shows alone.
        U[:, 1] = U[:, 0] + 0.2 * U[:, 1]
        V[:, 1] = -V[:, 0] * rng.uniform(0.9, 1.1)
    R = U @ V.T + 0.1 * rng.standard_normal((len(U), n_rows))
    return Table(U, R, max(1, round(share * V.size)))


def _tables() -> st.SearchStrategy[Table]:
    shares = st.sampled_from([0.1, 0.25, 0.5, 0.75])
    return st.builds(_draw, seeds, st.sampled_from(_KINDS), st.integers(1, 5), st.integers(2, 6), shares)


def _supports(rows: "dynamic.GreedyRows") -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in array(rows.mask)]


def _merged(table: Table) -> Measurement:
    """Compare the error of the merged sequences with that of the greedy algorithm over all pairs, both ways.

    An entry changes nothing in other rows. So the best column of a row depends on this row alone, and the best pair is
    the best of the next entries of all rows. Errors are compared and not supports, as columns that gain equally much
    can change places.
    """
    rows = table.solve()
    supports = _supports(rows)
    by_fit, by_pairs = table.total(supports), table.greedy_errors()[-1]
    fitted = float(np.square(table.R - table.U @ array(rows.coefficients).T).sum())
    counted = abs(sum(map(len, supports)) - int(rows.row_nonzeros.sum())) * table.scale
    errors = [abs(by_fit - by_pairs), abs(fitted - by_fit), counted]
    return Measurement.worst(errors, 0.0, table.scale)


def _largest_gains(table: Table) -> Measurement:
    """Take the largest gains of the sequences as if they fell in every row, and so many entries of each."""
    rows = table.solve()
    gains, order = array(rows.gains), array(rows.order)
    cut = np.sort(np.where(order >= 0, gains, -1.0), axis=None)[-table.n_nonzero]
    counts = ((gains >= cut) & (order >= 0)).sum(1)
    supports = [columns[:count].tolist() for columns, count in zip(order, counts, strict=True)]
    return Measurement(abs(table.total(supports) - table.greedy_errors()[-1]), 0.0, table.scale)


greedy_merge = Claim(
    name="dynamic_sparsity.greedy_merge",
    summary="Merging the sequences of all rows by their next gains is the greedy algorithm over all rows and columns.",
    statement=r"\text{largest running minima of the gains of each row} ="
    r" \arg\max_{(i, j)} \left( f(S) - f(S \cup (i, j)) \right) \text{ step by step}",
    source=Source.ours("rows of a table with the other one fixed are separate regressions"),
    verdict=Always(_ROUNDING),
    instances=_tables,
    evaluate=_merged,
    near_miss=_largest_gains,
)


def _pursuit(table: Table, *, rule: str) -> Measurement:
    """Compare the sequences of all rows with the supports of orthogonal matching pursuit, of every size."""
    rows = table.solve(rule)
    order, gram, correlations = array(rows.order), table.U.T @ table.U, table.R.T @ table.U
    worst = 0.0
    for size in range(1, order.shape[1] + 1):
        pursued = omp_gram(gram, correlations, n_nonzero=size)
        for row, columns in enumerate(order[:, :size]):
            taken = columns[columns >= 0].tolist()
            worst = max(worst, abs(table.error(row, taken) - table.error(row, np.flatnonzero(pursued[row]))))
    return Measurement(worst, 0.0, table.scale)


def _by_correlation(table: Table) -> Measurement:
    return _pursuit(table, rule="correlation")


_by_correlation.__doc__ = _pursuit.__doc__


def _by_gain(table: Table) -> Measurement:
    """Expect the same of the columns of the largest gains."""
    return _pursuit(table, rule="gain")


pursuit_sequences = Claim(
    name="dynamic_sparsity.pursuit_sequences",
    summary="With columns taken by correlation, the sequence of each row is that of orthogonal matching pursuit.",
    statement=r"S_{i,k} = \text{OMP}(U^\top U, U^\top r_i, k) \text{ for all rows } i \text{ and sizes } k",
    source=Source.classic("Pati, Rezaiifar, Krishnaprasad 1993; Rubinstein, Zibulevsky, Elad 2008", "Batch-OMP"),
    verdict=Always(_ROUNDING),
    instances=_tables,
    evaluate=_by_correlation,
    near_miss=_by_gain,
)
