// Package volumes makes the cluster's volumes: a folder on the node that the scheduler
// chose, which outlives the node's power cuts and goes with its claim. It runs outside of
// the nodes, where it sees the folders of all of them.
package volumes

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	// The provisioner that a StorageClass names.
	provisioner = "e2e.local/volumes"
	// Where a node sees its volumes; outside, that is below the node's own folder.
	onNode = "/var/lib/volumes"
	// The node that holds a volume, for its removal.
	nodeAnnotation = "e2e.local/node"
)

var errNoNode = errors.New("the StorageClass needs volumeBindingMode: WaitForFirstConsumer")

// folders makes volumes below nodes/NODE.
type folders struct{ nodes string }

// Provision serves claims until it is told to stop.
func Provision() {
	flags := flag.NewFlagSet("provisioner", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	nodes := flags.String("nodes", "", "the folder with a folder for each node")
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		klog.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(config)
	controller.NewProvisionController(ctx, client, provisioner, &folders{*nodes},
		controller.LeaderElection(false), controller.MetricsPort(0)).Run(ctx)
}

func (f *folders) Provision(_ context.Context, asked controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	node := asked.SelectedNodeName
	if node == "" {
		return nil, controller.ProvisioningFinished, errNoNode
	}
	name := fmt.Sprintf("%s_%s_%s", asked.PVName, asked.PVC.Namespace, asked.PVC.Name)
	if err := makeFolder(f.path(node, name)); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        asked.PVName,
			Annotations: map[string]string{nodeAnnotation: node},
		},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *asked.StorageClass.ReclaimPolicy,
			AccessModes:                   asked.PVC.Spec.AccessModes,
			Capacity: v1.ResourceList{
				v1.ResourceStorage: asked.PVC.Spec.Resources.Requests[v1.ResourceStorage],
			},
			VolumeMode: asked.PVC.Spec.VolumeMode,
			// Not hostPath: that ignores fsGroup.
			PersistentVolumeSource: v1.PersistentVolumeSource{
				Local: &v1.LocalVolumeSource{Path: filepath.Join(onNode, name)},
			},
			NodeAffinity: onlyOn(node),
		},
	}, controller.ProvisioningFinished, nil
}

func (f *folders) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	node := volume.Annotations[nodeAnnotation]
	if node == "" || volume.Spec.Local == nil {
		return &controller.IgnoredError{Reason: "it was made by somebody else"}
	}
	return os.RemoveAll(f.path(node, filepath.Base(volume.Spec.Local.Path)))
}

func (f *folders) path(node, name string) string {
	return filepath.Join(f.nodes, node, onNode, name)
}

func makeFolder(path string) error {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	return os.Chmod(path, 0o777) // MkdirAll's mode is less the umask
}

func onlyOn(node string) *v1.VolumeNodeAffinity {
	isNode := v1.NodeSelectorRequirement{
		Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{node},
	}
	return &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{
		NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchExpressions: []v1.NodeSelectorRequirement{isNode}}},
	}}
}
