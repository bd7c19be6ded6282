"""The contrastive loss of two towers, in nats per pair.

Letters: n pairs, u pictures and v texts as unit vectors [n, D], s scale (one over the temperature), P who belongs to
whom [n, n]: P_ij = 1 where text j is true of picture i.
"""

import torch
from torch import Tensor


def info_nce(u: Tensor, v: Tensor, s: Tensor, positive: Tensor) -> Tensor:
    """L = -1/2 mean_i [sum_j p_ij log softmax_j(s u_i.v_j) + sum_j q_ij log softmax_j(s v_i.u_j)].

    p and q are P and its transpose, each row divided by its sum: where several texts are true of a picture they share
    its target, and none of them is its negative. With P the identity it is the symmetric loss of Radford et al. 2021,
    arXiv:2103.00020, fig. 3, whose one direction is InfoNCE (van den Oord et al. 2018, arXiv:1807.03748, eq. 4); shared
    targets as in Khosla et al. 2020, arXiv:2004.11362, eq. 2.

    Args:
        u: float [n, D].
        v: float [n, D].
        s: scalar above 0.
        positive: bool [n, n], at least one in each row and column.
    """
    logits = s * u @ v.T
    return 0.5 * (_shared_cross_entropy(logits, positive) + _shared_cross_entropy(logits.T, positive.T))


def _shared_cross_entropy(logits: Tensor, positive: Tensor) -> Tensor:
    target = positive.to(logits.dtype)
    return -(target * torch.log_softmax(logits, 1)).sum(1).div(target.sum(1)).mean()


def true_of(texts: Tensor, words: Tensor) -> Tensor:
    """Returns bool [n, n]: P_ij, whether every word of text j stands in the words that are known of picture i.

    So "dress" is true of a picture known as "black dress"; a text without words is true of every picture.

    Args:
        texts: int64 [n, T], the words of text j as numbers; 0 is no word.
        words: int64 [n, T], the words known of picture i.
    """
    n = len(texts)
    number, place = torch.unique(torch.cat([texts, words]), return_inverse=True)
    stands = torch.zeros(2 * n, len(number), device=texts.device)
    stands.scatter_(1, place, 1.0)
    stands[:, number == 0] = 0.0
    asked, known = stands[:n], stands[n:]
    return known @ asked.T == asked.sum(1)
