"""What type checkers have to refuse: each line that is marked, and no other."""

import numpy as np
from own_rule import Peaked

import fastopt

W = np.zeros(3)

fastopt.SGD([W], lr="fast")  # wrong
fastopt.SGD([W], 0.1, "heavy")  # wrong
fastopt.Adam([W], betas=0.9)  # wrong
fastopt.Adam([W], betas=(0.9, 0.99, 0.999))  # wrong
fastopt.Adam([W], learning_rate=0.9)  # wrong
fastopt.SGD([W], momentum_form="heavy")  # wrong
fastopt.SGD([W], nonfinite="ignore")  # wrong
fastopt.SGD()  # wrong
fastopt.SGD(["W"])  # wrong
fastopt.SGD([W]).step(["W"])  # wrong
Peaked([W], gamma=0.9)  # wrong
Peaked([W], peak="yes")  # wrong

opt = fastopt.Adam([W])
opt.lr = "fast"  # wrong
opt.bind()  # wrong
opt.epsilon = 1e-8  # wrong
