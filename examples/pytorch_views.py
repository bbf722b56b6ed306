"""A PyTorch model that fastopt trains, through NumPy views of its parameters and gradients.

Needs:   fastopt, torch
Run:     python pytorch_views.py
Prints:  the loss of a model trained by fastopt.Adam and of one trained by torch.optim.Adam, and how far their weights
         are from each other
"""

import torch

import fastopt


def new_model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))


def train(model, opt):
    x = torch.rand(512, 2, generator=torch.Generator().manual_seed(1)) * 4 - 2
    y = torch.sin(x[:, :1]) * torch.cos(x[:, 1:])
    for _ in range(300):
        # By default this drops the gradients, and the next backward pass makes new ones elsewhere: the views would stay
        # with the old. Zeroed, they stay where they are.
        model.zero_grad(set_to_none=False)
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        opt.step()
    return loss.item()


mine = new_model()
opt = fastopt.Adam({name: p.detach().numpy() for name, p in mine.named_parameters()}, lr=0.01)
for p in mine.parameters():
    p.grad = torch.zeros_like(p)
opt.bind({name: p.grad.numpy() for name, p in mine.named_parameters()})
my_loss = train(mine, opt)

theirs = new_model()
their_loss = train(theirs, torch.optim.Adam(theirs.parameters(), lr=0.01))

difference = max((p - q).abs().max().item() for p, q in zip(mine.parameters(), theirs.parameters(), strict=True))
print(f"loss: fastopt {my_loss:.6f}, torch {their_loss:.6f}; largest difference of a weight: {difference:.1e}")

assert my_loss < 0.001
# Each step rounds a little differently, in the last bit of a float32, and 300 steps carry that on.
assert difference < 1e-4
