"""minigo's PUCT for one position in plain Python with running sums, as its papers and references describe it; no jax arrays inside."""

import math

import numpy as np


class Board:
    """toy_game.Placing's rules once more, on tuples."""

    def __init__(self, game, cells, moves, passes):
        self.game, self.cells, self.moves, self.passes = game, cells, moves, passes

    @classmethod
    def of(cls, game, state):
        return cls(game, tuple(int(cell) for cell in state.board), int(state.moves), int(state.passes))

    @property
    def side(self):
        return 1 if self.moves % 2 == 0 else -1

    def play(self, action):
        if action == self.game.points:
            return Board(self.game, self.cells, self.moves + 1, self.passes + 1)
        cells = tuple(self.side if point == action else cell for point, cell in enumerate(self.cells))
        return Board(self.game, cells, self.moves + 1, 0)

    def legal(self):
        return [cell != self.side for cell in self.cells] + [True]

    def ended(self):
        return not self.game.endless and (self.passes >= 2 or self.moves >= self.game.max_moves)

    def winner(self):
        """+1 for the first player; the side to move needs more stones."""
        return self.side if sum(self.cells) * self.side > 0 else -self.side

    def lookup(self, table):
        number = sum((cell + 1) * 3**point for point, cell in enumerate(self.cells))
        number = (number * 2 + self.moves % 2) * 3 + min(self.passes, 2)
        return table.logits[number].astype(np.float64), float(table.value[number])


class Branch:
    """A node; `total` holds values for the first player, as in the reference."""

    def __init__(self, board):
        self.board, self.visits, self.total, self.children, self.priors = board, 0, 0.0, {}, None


def plain_puct(game, state, table, readouts, version, noise=None):
    """Visits of the root's actions, its mean value for its side, the action to play; noise: (weight, [A] probabilities)."""
    root = Branch(Board.of(game, state))
    for simulation in range(readouts + 1):
        path = [root]
        while path[-1].priors is not None:
            action = pick(path[-1], version)
            path.append(path[-1].children.setdefault(action, Branch(path[-1].board.play(action))))
        leaf = path[-1]
        value = leaf.board.winner() if leaf.board.ended() else grow(leaf, table, version, noise if simulation == 0 else None)
        for node in path:
            node.visits += 1
            node.total += value
    visits = [root.children[action].visits if action in root.children else 0 for action in range(game.actions)]
    best = [action for action in range(game.actions) if visits[action] == max(visits)]
    if version == "v0.6":
        final = scores(root, version, math.sqrt(1 + root.visits))
        best.sort(key=lambda action: -final[action])
    return visits, root.board.side * root.total / root.visits, best[0]


def grow(node, table, version, noise):
    """Evaluates a node; the network's value for the first player."""
    logits, value = node.board.lookup(table)
    legal = np.array(node.board.legal())
    priors = np.exp(logits) / np.exp(logits).sum()
    if version == "v0.6":
        priors = priors * legal / (priors * legal).sum()
    if noise is not None:
        weight, random = noise
        if version == "v0.6":
            random = random * legal / (random * legal).sum()
        priors = (1 - weight) * priors + weight * random
    node.priors, node.own = priors, value * node.board.side
    return node.own


def scores(node, version, root_of_visits=None):
    """Of every action, for the side to move; v0.6 has another square root when it breaks ties at the end."""
    side, result = node.board.side, []
    for action, legal in enumerate(node.board.legal()):
        child = node.children.get(action)
        n, total = (child.visits, child.total) if child else (0, 0.0)
        if version == "v0.5":
            counted = node.visits + 1  # this visit was counted on arrival
            start, factor = node.own, 1.38 * math.sqrt(1 + counted)
        else:
            start = side * max(-1.0, min(1.0, side * node.own - 0.2))
            factor = 2 * (math.log((1 + node.visits + 19652) / 19652) + 1.25) * (root_of_visits or math.sqrt(max(1, node.visits - 1)))
        result.append(side * (start + total) / (1 + n) + factor * node.priors[action] / (1 + n) - (0 if legal else 1000))
    return result


def pick(node, version):
    if node.board.passes > 0 and node.board.game.points not in node.children:
        return node.board.game.points
    return int(np.argmax(scores(node, version)))
