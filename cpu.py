import sys,time
from sparsetheory.proofs_checks import all_claims
import torch, torch._dynamo
c=all_claims()
for n in sys.argv[1:]:
    t=time.process_time(); r=c['activation_sparsity.'+n].run(profile="quick", n_jobs=1); print(n, r.verdict.state, r.verdict.evidence, round(time.process_time()-t,1)); print(r.to_frame().head(3).to_string())
